package signalingtest

import (
	"context"
	"iter"
	"sync"

	"github.com/boothwire/boothwire/signaling"
)

// Line is a Sender that says when a control reads it: nobody keeps for a control what
// devices publish before, so that a test waits for it before it starts them. It is safe
// for concurrent use.
type Line struct {
	signaling.Sender
	read chan struct{}
	once sync.Once
}

// NewLine makes a line of s that nobody reads yet.
func NewLine(s signaling.Sender) *Line { return &Line{Sender: s, read: make(chan struct{})} }

// Read returns what is closed once somebody reads: from then on he gets all that comes.
func (l *Line) Read() <-chan struct{} { return l.read }

// Statuses is the Sender's.
func (l *Line) Statuses(ctx context.Context) iter.Seq2[signaling.Message, error] {
	all := l.Sender.Statuses(ctx)
	l.once.Do(func() { close(l.read) })
	return all
}

// Up is the Sender's, where it says such a thing; else true.
func (l *Line) Up() bool {
	s, ok := l.Sender.(interface{ Up() bool })
	return !ok || s.Up()
}
