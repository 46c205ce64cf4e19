package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/open-telemetry/opamp-go/protobufs"
	"google.golang.org/protobuf/encoding/protojson"
)

// request is what a test posts; each verb looks at the members that concern it.
type request struct {
	Agent       string            `json:"agent"` // instance uid, hexadecimal; "" = the only one connected
	Files       map[string]string `json:"files"`
	ContentType string            `json:"content_type"`
	Hash        string            `json:"hash"`
	Unset       bool              `json:"unset"`  // an offer with a hash and no config at all
	Forget      bool              `json:"forget"` // nothing is assigned any more
	Message     json.RawMessage   `json:"message"`
	Status      int               `json:"status"`
	Headers     map[string]string `json:"headers"`
	Times       int               `json:"times"`
}

func (b *bed) find(uid string) (*agent, error) {
	if uid != "" {
		if a := b.agents[uid]; a != nil {
			return a, nil
		}
		return nil, errors.New("no agent " + uid)
	}
	var found *agent
	for _, a := range b.agents {
		if a.conn != nil && found != nil {
			return nil, errors.New("several agents are connected: name one")
		}
		if a.conn != nil {
			found = a
		}
	}
	if found == nil {
		return nil, errors.New("no agent is connected")
	}
	return found, nil
}

func (a *agent) send(m *protobufs.ServerToAgent) error {
	if a.conn == nil {
		return errors.New("not connected")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	m.InstanceUid = a.report.InstanceUid
	return a.conn.Send(ctx, m)
}

func (b *bed) offer(r *request) (any, error) {
	a, err := b.find(r.Agent)
	if err != nil {
		return nil, err
	}
	if r.Forget {
		a.offer = nil
		return map[string]string{}, nil
	}
	if a.offer, err = makeOffer(r.Files, r.ContentType, r.Hash); err != nil {
		return nil, err
	}
	if r.Unset {
		a.offer.Config = nil
	}
	if a.conn != nil {
		b.tell(&event{Time: now(), Event: "offer", Hash: hex.EncodeToString(a.offer.ConfigHash)})
		err = a.send(&protobufs.ServerToAgent{RemoteConfig: a.offer})
	}
	return map[string]string{"hash": hex.EncodeToString(a.offer.ConfigHash)}, err
}

func (b *bed) send(r *request) (any, error) {
	m := &protobufs.ServerToAgent{}
	if err := protojson.Unmarshal(r.Message, m); err != nil {
		return nil, err
	}
	a, err := b.find(r.Agent)
	if err != nil {
		return nil, err
	}
	return map[string]string{}, a.send(m)
}

func (b *bed) disconnect(r *request) (any, error) {
	a, err := b.find(r.Agent)
	if err != nil {
		return nil, err
	}
	return map[string]string{}, a.conn.Disconnect()
}

func (b *bed) rejectNext(r *request) (any, error) {
	b.reject = nil
	if r.Status != 0 {
		b.reject = &rejection{Status: r.Status, Headers: r.Headers, Times: r.Times}
	}
	return map[string]string{}, nil
}

func (b *bed) startChurn(r *request) (any, error) {
	b.churn = r.Times
	for _, a := range b.agents { // who is connected now says something only when it has to
		if a.conn != nil && b.churn > 0 {
			_ = a.conn.Disconnect()
		}
	}
	return map[string]string{}, nil
}

func (b *bed) state() any {
	agents := map[string]any{}
	for uid, a := range b.agents {
		agents[uid] = a.view()
	}
	return map[string]any{"listening": b.up, "accepted": b.accepted, "open": b.open, "churn": b.churn, "agents": agents, "opamp": b.listen}
}

func answer(w http.ResponseWriter, value any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		value = map[string]string{"error": err.Error()}
	}
	_ = json.NewEncoder(w).Encode(value)
}

func (b *bed) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, _ *http.Request) {
		b.mu.Lock()
		defer b.mu.Unlock()
		answer(w, b.state(), nil)
	})
	verbs := map[string]func(*request) (any, error){
		"offer": b.offer, "send": b.send, "close": b.disconnect, "reject": b.rejectNext, "churn": b.startChurn,
	}
	for name, verb := range verbs {
		mux.HandleFunc("POST /"+name, func(w http.ResponseWriter, r *http.Request) {
			var body request
			err := json.NewDecoder(r.Body).Decode(&body)
			if err != nil {
				answer(w, nil, err)
				return
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			value, err := verb(&body)
			answer(w, value, err)
		})
	}
	// these two wait for callbacks, which take the lock
	mux.HandleFunc("POST /stop", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]string{}, b.stop())
	})
	mux.HandleFunc("POST /start", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]string{}, b.start())
	})
	return mux
}
