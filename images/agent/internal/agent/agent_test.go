package agent

import "testing"

func TestGoOutlivesAPanic(t *testing.T) {
	done := make(chan struct{})
	Host{}.Go("a part that fails on purpose", func() {
		defer close(done)
		panic("on purpose")
	})
	<-done
}
