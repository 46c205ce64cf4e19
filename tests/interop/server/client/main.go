// client is an agent on the OpAMP project's reference client, over WebSocket (a ws:// URL) or plain HTTP
// (http://).  It takes every configuration but one with "nosuch" in it, which it refuses.
//
//	client URL NAME
//
// Standard output has one JSON object a line for what happens; standard input takes "unhealthy TEXT",
// "healthy" and "stop".  It ends with its standard input.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/open-telemetry/opamp-go/client"
	"github.com/open-telemetry/opamp-go/client/types"
	"github.com/open-telemetry/opamp-go/protobufs"
)

type agent struct {
	client    client.OpAMPClient
	mu        sync.Mutex
	effective *protobufs.AgentConfigMap
}

func say(what map[string]any) {
	line, err := json.Marshal(what)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

func attribute(key, value string) *protobufs.KeyValue {
	return &protobufs.KeyValue{Key: key, Value: &protobufs.AnyValue{Value: &protobufs.AnyValue_StringValue{StringValue: value}}}
}

func (a *agent) take(ctx context.Context, offer *protobufs.AgentRemoteConfig) {
	body := offer.GetConfig().GetConfigMap()[""].GetBody()
	say(map[string]any{"event": "offer", "hash": hex.EncodeToString(offer.ConfigHash), "body": string(body)})
	status := &protobufs.RemoteConfigStatus{
		LastRemoteConfigHash: offer.ConfigHash,
		Status:               protobufs.RemoteConfigStatuses_RemoteConfigStatuses_APPLIED,
	}
	if bytes.Contains(body, []byte("nosuch")) {
		status.Status = protobufs.RemoteConfigStatuses_RemoteConfigStatuses_FAILED
		status.ErrorMessage = "there is nothing of the name nosuch"
	} else {
		a.mu.Lock()
		a.effective = offer.Config
		a.mu.Unlock()
	}
	must(a.client.SetRemoteConfigStatus(status))
	must(a.client.UpdateEffectiveConfig(ctx))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

func (a *agent) health(healthy bool, why string) {
	must(a.client.SetHealth(&protobufs.ComponentHealth{
		Healthy: healthy, LastError: why, StartTimeUnixNano: uint64(time.Now().UnixNano()),
		ComponentHealthMap: map[string]*protobufs.ComponentHealth{"part": {Healthy: healthy, LastError: why}},
	}))
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: client URL NAME")
		os.Exit(2)
	}
	url, name := os.Args[1], os.Args[2]
	a := &agent{client: client.NewWebSocket(nil)}
	if strings.HasPrefix(url, "http") {
		a.client = client.NewHTTP(nil)
	}
	uid := types.InstanceUid{}
	if f, err := os.Open("/dev/urandom"); err == nil {
		_, err = f.Read(uid[:])
		must(err)
		must(f.Close())
	}
	must(a.client.SetAgentDescription(&protobufs.AgentDescription{
		IdentifyingAttributes:    []*protobufs.KeyValue{attribute("service.name", name), attribute("service.version", "0.23.0")},
		NonIdentifyingAttributes: []*protobufs.KeyValue{attribute("os.type", "linux")},
	}))
	capabilities := protobufs.AgentCapabilities_AgentCapabilities_AcceptsRemoteConfig |
		protobufs.AgentCapabilities_AgentCapabilities_ReportsRemoteConfig |
		protobufs.AgentCapabilities_AgentCapabilities_ReportsEffectiveConfig |
		protobufs.AgentCapabilities_AgentCapabilities_ReportsHealth |
		protobufs.AgentCapabilities_AgentCapabilities_AcceptsRestartCommand |
		protobufs.AgentCapabilities_AgentCapabilities_ReportsHeartbeat
	a.health(true, "") // before it is said that health is told
	must(a.client.SetCapabilities(&capabilities))
	beat := 500 * time.Millisecond // over plain HTTP this is how often it polls
	must(a.client.Start(context.Background(), types.StartSettings{
		OpAMPServerURL:    url,
		InstanceUid:       uid,
		HeartbeatInterval: &beat,
		EnableCompression: true,
		Callbacks: types.Callbacks{
			OnConnect:       func(context.Context) {},
			OnConnectFailed: func(_ context.Context, err error) { say(map[string]any{"event": "no connection", "why": err.Error()}) },
			OnError: func(_ context.Context, e *protobufs.ServerErrorResponse) {
				say(map[string]any{"event": "error", "why": e.ErrorMessage})
			},
			OnMessage: func(ctx context.Context, m *types.MessageData) {
				if m.RemoteConfig != nil {
					a.take(ctx, m.RemoteConfig)
				}
			},
			OnCommand: func(_ context.Context, c *protobufs.ServerToAgentCommand) error {
				say(map[string]any{"event": "command", "type": c.Type.String()})
				return nil
			},
			GetEffectiveConfig: func(context.Context) (*protobufs.EffectiveConfig, error) {
				a.mu.Lock()
				defer a.mu.Unlock()
				return &protobufs.EffectiveConfig{ConfigMap: a.effective}, nil
			},
		},
	}))
	say(map[string]any{"event": "started", "uid": hex.EncodeToString(uid[:])})
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		word, rest, _ := strings.Cut(in.Text(), " ")
		switch word {
		case "unhealthy":
			a.health(false, rest)
		case "healthy":
			a.health(true, "")
		case "stop":
			must(a.client.Stop(context.Background()))
			return
		}
	}
}
