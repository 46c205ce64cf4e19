package main

import (
	"encoding/hex"
	"encoding/json"
	"os"

	"github.com/open-telemetry/opamp-go/protobufs"
)

// event is one line for who measures: the time is taken before anything is done with a message.
type event struct {
	Time    float64 `json:"time"`
	Event   string  `json:"event"` // offer, message
	UID     string  `json:"uid,omitempty"`
	Status  string  `json:"status,omitempty"` // of the remote configuration
	Hash    string  `json:"hash,omitempty"`
	Error   string  `json:"error,omitempty"`
	Healthy *bool   `json:"healthy,omitempty"`
	Goodbye bool    `json:"goodbye,omitempty"`
}

func messageEvent(came float64, m *protobufs.AgentToServer) *event {
	e := &event{Time: came, Event: "message", UID: hex.EncodeToString(m.InstanceUid), Goodbye: m.AgentDisconnect != nil}
	if s := m.RemoteConfigStatus; s != nil {
		e.Status, e.Hash, e.Error = s.Status.String(), hex.EncodeToString(s.LastRemoteConfigHash), s.ErrorMessage
	}
	if m.Health != nil {
		e.Healthy = &m.Health.Healthy
	}
	return e
}

// tell writes the event, if anybody asked for that; the lock is held.
func (b *bed) tell(e *event) {
	if !b.events {
		return
	}
	if line, err := json.Marshal(e); err == nil {
		_, _ = os.Stdout.Write(append(line, '\n'))
	}
}
