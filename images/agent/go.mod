module devservers.io/agent

go 1.24
