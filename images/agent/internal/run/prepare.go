package run

import (
	"os"

	"devservers.io/agent/internal/account"
	"devservers.io/agent/internal/environment"
	"devservers.io/agent/internal/home"
	"devservers.io/agent/internal/message"
	"devservers.io/agent/internal/paths"
	"devservers.io/agent/internal/shell"
)

func prepare() {
	path, set := os.LookupEnv("PATH")
	imageShell := shell.Of(path)
	err := environment.Store(paths.Environment, os.Environ())
	if err == nil {
		err = environment.StoreProfile(paths.Profile, path, set)
	}
	if err != nil {
		message.Say("the environment can't be written", err)
	}
	accountShell := imageShell
	if accountShell == "" {
		accountShell = paths.Login
	}
	if err := account.Store(paths.Keys+"/passwd", paths.Passwd, accountShell); err != nil {
		message.Say("/etc/passwd can't be written", err)
	}
	folders := home.Folders{Home: paths.Home, ImageSkel: "/etc/skel", OwnSkel: paths.Skel}
	if err := folders.Prepare(imageShell); err != nil {
		message.Say("the home did not get the files of /etc/skel", err)
	}
	_ = os.Remove(paths.CommandState)
}
