package wish

import (
	"net"
	"time"

	"devservers.io/agent/internal/protocol"
)

// holdStep is how long the hold of runs is asked for at a time, at most.
const holdStep = time.Hour

// begin starts a run, and asks for a hold unless one is in force that isn't a run's.
func (service *Service) begin(conn net.Conn, request Request) (Response, bool) {
	status := service.Status()
	if status.Limits == nil {
		return Response{Error: "the operator has sent no limits yet; try again in a minute"}, false
	}
	if request.Seconds == 0 {
		request.Seconds = status.Limits.HoldSeconds
	}
	request.Command = protocol.HoldWish
	service.mutex.Lock()
	defer service.mutex.Unlock()
	if err := within(request, status.Limits); err != nil {
		return Response{Error: err.Error()}, false
	}
	response, now := Response{}, service.Clock()
	until := now + time.Duration(request.Seconds)*time.Second
	if !service.foreign(status.Hold) {
		id, err := service.hold(holdReason(request.Reason), now, max(until, service.last()), status.Limits)
		if err != nil {
			return Response{Error: err.Error()}, false
		}
		response.ID = id
	}
	if service.runs == nil {
		service.runs = map[net.Conn]time.Duration{}
	}
	service.runs[conn] = until
	return response, true
}

// foreign is whether a hold in force is not one that a run asked for.
func (service *Service) foreign(hold *protocol.Hold) bool {
	return hold != nil && !service.own[hold.Reason]
}

// last is until when the runs count.
func (service *Service) last() time.Duration {
	var last time.Duration
	for _, until := range service.runs {
		last = max(last, until)
	}
	return last
}

// hold asks for the next step of the hold of runs that last until then.
func (service *Service) hold(reason string, now, until time.Duration, limits *protocol.Limits) (string, error) {
	step := min(until-now, holdStep, time.Duration(min(limits.HoldSeconds, protocol.MaxSeconds))*time.Second)
	id, err := service.Queue.Add(protocol.HoldWish, int64(step/time.Second), reason)
	if err != nil {
		return "", err
	}
	if service.own == nil {
		service.own = map[string]bool{}
	}
	service.own[reason] = true
	service.held, service.asked, service.release = reason, id, ""
	service.until, service.renew = now+step, now+step-step/6
	return id, nil
}

// forget leaves the hold to the person who has just asked for another one, or for its end.
func (service *Service) forget() {
	service.mutex.Lock()
	defer service.mutex.Unlock()
	service.held, service.release, service.own = "", "", nil
}

func (service *Service) end(conn net.Conn) {
	service.mutex.Lock()
	defer service.mutex.Unlock()
	delete(service.runs, conn)
	service.settle()
}

// settle renews the hold of the runs, or releases it after the last one; it leaves one that isn't theirs alone.
func (service *Service) settle() {
	status := service.Status()
	if service.foreign(status.Hold) {
		service.Queue.Withdraw(service.asked)
		service.held, service.release = "", ""
	}
	if len(service.runs) == 0 && service.held != "" {
		service.held, service.release = "", service.held
	}
	waiting := len(service.Queue.Waiting())
	switch last, now := service.last(), service.Clock(); {
	case service.release != "":
		if id, err := service.Queue.Add(protocol.ReleaseWish, 0, service.release); err == nil {
			service.release, service.asked = "", id
		}
	case service.held == "":
		if len(service.runs) == 0 && waiting == 0 && status.Hold == nil {
			service.own = nil
		}
	case waiting == 0 && last > service.until && now >= service.renew && status.Limits != nil && status.Limits.HoldSeconds > 0:
		_, _ = service.hold(service.held, now, last, status.Limits) // the next sample tries again
	}
}

// Runs is how many runs count as activity now. It is asked for at every sample.
func (service *Service) Runs() int {
	service.mutex.Lock()
	defer service.mutex.Unlock()
	service.settle()
	count := 0
	for _, until := range service.runs {
		if service.Clock() < until {
			count++
		}
	}
	return count
}
