// Package wish takes what people in a server ask of the operator, and is the command `devserver` that they ask by.
//
// Invariant: a wish stays in the reports until the operator has answered it; nothing is granted here.
package wish

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync"

	"devservers.io/agent/internal/protocol"
)

const maxAnswered = 16

// Queue holds the wishes that wait for an answer, and the last answers.
type Queue struct {
	mutex    sync.Mutex
	waiting  []protocol.Wish
	answered []protocol.Answer
}

// Add keeps a wish and returns its id.
func (queue *Queue) Add(kind string, seconds int64, reason string) (string, error) {
	queue.mutex.Lock()
	defer queue.mutex.Unlock()
	if len(queue.waiting) >= protocol.MaxWishes {
		return "", fmt.Errorf("%d requests wait for the operator's answer already; try again in a minute", len(queue.waiting))
	}
	random := make([]byte, 8)
	_, _ = rand.Read(random) // it never fails
	id := hex.EncodeToString(random)
	queue.waiting = append(queue.waiting, protocol.Wish{ID: id, Kind: kind, Seconds: seconds, Reason: reason})
	return id, nil
}

// Withdraw takes back a wish that waits.
func (queue *Queue) Withdraw(id string) {
	queue.mutex.Lock()
	defer queue.mutex.Unlock()
	for i, wish := range queue.waiting {
		if wish.ID == id {
			queue.waiting = append(queue.waiting[:i:i], queue.waiting[i+1:]...)
			return
		}
	}
}

// Waiting are the wishes for a report.
func (queue *Queue) Waiting() []protocol.Wish {
	queue.mutex.Lock()
	defer queue.mutex.Unlock()
	return append([]protocol.Wish(nil), queue.waiting...)
}

// Answered takes over a plan's answers.
func (queue *Queue) Answered(answers []protocol.Answer) {
	queue.mutex.Lock()
	defer queue.mutex.Unlock()
	for _, answer := range answers {
		for i, wish := range queue.waiting {
			if wish.ID == answer.ID {
				queue.waiting = append(queue.waiting[:i:i], queue.waiting[i+1:]...)
				queue.answered = append(queue.answered, answer)
				break
			}
		}
	}
	queue.answered = queue.answered[max(0, len(queue.answered)-maxAnswered):]
}

// Answer is the answer to a wish, nil while it waits; an error if there is no such wish.
func (queue *Queue) Answer(id string) (*protocol.Answer, error) {
	queue.mutex.Lock()
	defer queue.mutex.Unlock()
	for _, answer := range queue.answered {
		if answer.ID == id {
			return &answer, nil
		}
	}
	for _, wish := range queue.waiting {
		if wish.ID == id {
			return nil, nil
		}
	}
	return nil, fmt.Errorf("there is no request %s", protocol.Printable(id, 32))
}
