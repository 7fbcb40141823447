package main

import (
	"context"
	"os"
	"strconv"
	"time"

	"devservers.io/agent/internal/agent"
	personal "devservers.io/agent/internal/command"
	"devservers.io/agent/internal/lifecycle"
	"devservers.io/agent/internal/output"
	"devservers.io/agent/internal/paths"
	"devservers.io/agent/internal/process"
	"devservers.io/agent/internal/protocol"
	"devservers.io/agent/internal/runs"
	"devservers.io/agent/internal/setup"
)

// startLifecycle starts what measures the server, warns in it and answers the operator.
func startLifecycle(host agent.Host) (agent.Service, error) {
	gpus, _ := strconv.Atoi(os.Getenv("DEVSERVERS_GPUS"))
	replicas, _ := strconv.Atoi(os.Getenv("DEVSERVERS_REPLICAS"))
	service := lifecycle.New(lifecycle.Options{
		PodUID:   os.Getenv("DEVSERVERS_POD_UID"),
		Home:     paths.Home,
		Volumes:  lifecycle.Paths(os.Getenv("DEVSERVERS_VOLUMES"), paths.Home),
		Interval: lifecycle.Interval(os.Getenv("DEVSERVERS_SAMPLE_SECONDS")),
		Root:     "/",
		RunPath:  paths.Run,
		KeyFile:  paths.Keys + "/agent.pub",
		SetupDir: paths.Setup,
		Address:  ":" + strconv.Itoa(paths.AgentPort),
		Run: func(ctx context.Context, program setup.Program) (int, error) {
			return host.Processes.Run(ctx, process.Spec{Argv: program.Argv, Env: program.Env, Dir: program.Dir}, program.Output)
		},
		Runs: &runs.Registry{
			Folder: runs.Of(paths.Home), Reaper: host.Processes, GPUs: gpus, Replicas: replicas, Say: host.Say, Go: host.Go, Now: time.Now,
		},
		Lines:   func() []string { return host.Output.Last(output.MaxLines, output.MaxBytes) },
		Command: func() *protocol.Command { return ended(host.Command) },
		Say:     host.Say,
		Go:      host.Go,
	})
	service.Start(context.Background())
	return attached{service}, nil
}

// ended is what became of the person's command; nil while it runs, or if there is none.
func ended(command *personal.Command) *protocol.Command {
	if command == nil || command.State() == nil {
		return nil
	}
	state := command.State()
	return &protocol.Command{
		ExitCode: state.ExitCode, Signal: state.Signal, At: int64(max(0, time.Since(state.Ended)) / time.Second),
	}
}

// attached is the service as the first process knows it.
type attached struct{ *lifecycle.Service }

func (a attached) Ending() agent.Ending {
	reason, kills := a.Service.Ending()
	return agent.Ending{Reason: reason, OOMKills: int(kills)}
}
