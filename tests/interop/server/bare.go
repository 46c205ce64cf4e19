package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"

	"github.com/open-telemetry/opamp-go/protobufs"
	"github.com/open-telemetry/opamp-go/server"
	"github.com/open-telemetry/opamp-go/server/types"
)

// bare is the least that is a server on the library: it remembers what each connection reported last,
// stores nothing, and sends one configuration to all (POST /offer).  make bench-hub measures it.
type bare struct {
	mu    sync.Mutex
	conns map[types.Connection]*last
}

type last struct {
	uid         []byte
	description *protobufs.AgentDescription
	health      *protobufs.ComponentHealth
	effective   *protobufs.EffectiveConfig
	status      *protobufs.RemoteConfigStatus
}

func (b *bare) message(c types.Connection, m *protobufs.AgentToServer) *protobufs.ServerToAgent {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.conns[c]
	answer := &protobufs.ServerToAgent{InstanceUid: m.InstanceUid}
	if l == nil {
		l = &last{uid: m.InstanceUid}
		b.conns[c] = l
		answer.Capabilities = uint64(protobufs.ServerCapabilities_ServerCapabilities_AcceptsStatus |
			protobufs.ServerCapabilities_ServerCapabilities_OffersRemoteConfig)
	}
	if m.AgentDescription != nil {
		l.description = m.AgentDescription
	}
	if m.Health != nil {
		l.health = m.Health
	}
	if m.EffectiveConfig != nil {
		l.effective = m.EffectiveConfig
	}
	if m.RemoteConfigStatus != nil {
		l.status = m.RemoteConfigStatus
	}
	return answer
}

func (b *bare) offer(w http.ResponseWriter, r *http.Request) {
	var body request
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		answer(w, nil, err)
		return
	}
	offer, err := makeOffer(body.Files, body.ContentType, body.Hash)
	if err != nil {
		answer(w, nil, err)
		return
	}
	b.mu.Lock()
	to := make(map[types.Connection][]byte, len(b.conns))
	for c, l := range b.conns {
		to[c] = l.uid
	}
	b.mu.Unlock()
	for c, uid := range to {
		if err := c.Send(context.Background(), &protobufs.ServerToAgent{InstanceUid: uid, RemoteConfig: offer}); err != nil {
			fmt.Fprintln(os.Stderr, "sending an offer:", err)
		}
	}
	answer(w, map[string]string{"hash": hex.EncodeToString(offer.ConfigHash)}, nil)
}

func runBare(listen, control string) error {
	b := &bare{conns: map[types.Connection]*last{}}
	s := server.New(silent{})
	callbacks := types.ConnectionCallbacks{
		OnMessage: func(_ context.Context, c types.Connection, m *protobufs.AgentToServer) *protobufs.ServerToAgent {
			return b.message(c, m)
		},
		OnConnectionClose: func(c types.Connection) {
			b.mu.Lock()
			defer b.mu.Unlock()
			delete(b.conns, c)
		},
	}
	err := s.Start(server.StartSettings{
		Settings: server.Settings{Callbacks: types.Callbacks{OnConnecting: func(*http.Request) types.ConnectionResponse {
			return types.ConnectionResponse{Accept: true, ConnectionCallbacks: callbacks}
		}}},
		ListenEndpoint: listen,
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", control)
	if err != nil {
		return err
	}
	first, _ := json.Marshal(map[string]string{"opamp": s.Addr().String(), "control": l.Addr().String()})
	fmt.Println(string(first))
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /offer", b.offer)
	return http.Serve(l, mux)
}

// silent: that thousands of agents leave without a goodbye is no news.
type silent struct{}

func (silent) Debugf(context.Context, string, ...any) {}
func (silent) Errorf(context.Context, string, ...any) {}
