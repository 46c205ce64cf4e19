package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"sort"
	"time"

	"github.com/open-telemetry/opamp-go/protobufs"
	"github.com/open-telemetry/opamp-go/server/types"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// agent is what one instance uid has reported, and what is assigned to it.
type agent struct {
	conn        types.Connection
	header      http.Header
	greeted     types.Connection // the connection that knows our capabilities
	connections int
	messages    int
	heartbeats  int // with nothing but what every message has
	disconnects int
	gaps        int
	sequence    uint64
	known       bool
	report      protobufs.AgentToServer // the last of every part
	statuses    []status
	healths     []health
	offer       *protobufs.AgentRemoteConfig
	last        time.Time
}

type status struct {
	Time   float64 `json:"time"`
	Hash   string  `json:"hash"`
	Status string  `json:"status"`
	Error  string  `json:"error"`
}

type health struct {
	Time    float64 `json:"time"`
	Healthy bool    `json:"healthy"`
	Status  string  `json:"status"`
	Error   string  `json:"error"`
	Start   uint64  `json:"start"`
}

func now() float64 { return float64(time.Now().UnixNano()) / 1e9 }

// take keeps every part that is there: a part that is left out has not changed.
func (a *agent) take(m *protobufs.AgentToServer) {
	if m.AgentDescription != nil {
		a.report.AgentDescription = m.AgentDescription
	}
	if m.Health != nil {
		a.report.Health = m.Health
		h := m.Health
		a.healths = append(a.healths, health{now(), h.Healthy, h.Status, h.LastError, h.StartTimeUnixNano})
	}
	if m.EffectiveConfig != nil {
		a.report.EffectiveConfig = m.EffectiveConfig
	}
	if s := m.RemoteConfigStatus; s != nil {
		a.report.RemoteConfigStatus = s
		a.statuses = append(a.statuses, status{now(), hex.EncodeToString(s.LastRemoteConfigHash), s.Status.String(), s.ErrorMessage})
	}
	a.report.InstanceUid = m.InstanceUid
	a.report.Capabilities = m.Capabilities
	a.report.SequenceNum = m.SequenceNum
	if m.AgentDisconnect != nil {
		a.disconnects++
	}
	rest := proto.Clone(m).(*protobufs.AgentToServer)
	rest.InstanceUid, rest.SequenceNum, rest.Capabilities = nil, 0, 0
	if proto.Size(rest) == 0 {
		a.heartbeats++
	}
}

// wants says whether what is assigned is not what the agent has.
func (a *agent) wants() bool {
	return a.offer != nil && a.report.Capabilities&uint64(protobufs.AgentCapabilities_AgentCapabilities_AcceptsRemoteConfig) != 0 &&
		!bytes.Equal(a.report.RemoteConfigStatus.GetLastRemoteConfigHash(), a.offer.ConfigHash)
}

func (b *bed) message(c types.Connection, header http.Header, m *protobufs.AgentToServer) *protobufs.ServerToAgent {
	uid := hex.EncodeToString(m.InstanceUid)
	a := b.agents[uid]
	if a == nil {
		a = &agent{}
		b.agents[uid] = a
	}
	if a.conn != c {
		a.conn, a.header = c, header
		a.connections++
	}
	a.messages++
	a.last = time.Now()
	answer := &protobufs.ServerToAgent{InstanceUid: m.InstanceUid}
	if a.known && m.SequenceNum != a.sequence+1 || !a.known && m.AgentDescription == nil {
		if a.known && m.AgentDescription == nil {
			a.gaps++
		}
		answer.Flags = uint64(protobufs.ServerToAgentFlags_ServerToAgentFlags_ReportFullState)
	}
	a.known, a.sequence = true, m.SequenceNum
	a.take(m)
	if a.greeted != c {
		a.greeted = c
		answer.Capabilities = uint64(protobufs.ServerCapabilities_ServerCapabilities_AcceptsStatus |
			protobufs.ServerCapabilities_ServerCapabilities_OffersRemoteConfig |
			protobufs.ServerCapabilities_ServerCapabilities_AcceptsEffectiveConfig)
	}
	if a.wants() {
		answer.RemoteConfig = a.offer
	}
	return answer
}

// makeOffer is a configuration with the hash that was given, or one over all names and bodies.
func makeOffer(files map[string]string, contentType, hash string) (*protobufs.AgentRemoteConfig, error) {
	offer := &protobufs.AgentRemoteConfig{Config: &protobufs.AgentConfigMap{ConfigMap: map[string]*protobufs.AgentConfigFile{}}}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	sum := sha256.New()
	for _, name := range names {
		sum.Write([]byte(name + "\x00" + files[name] + "\x00"))
		offer.Config.ConfigMap[name] = &protobufs.AgentConfigFile{Body: []byte(files[name]), ContentType: contentType}
	}
	offer.ConfigHash = sum.Sum(nil)
	if hash != "" {
		raw, err := hex.DecodeString(hash)
		if err != nil {
			return nil, err
		}
		offer.ConfigHash = raw
	}
	return offer, nil
}

func asJSON(m proto.Message) json.RawMessage {
	text, err := protojson.Marshal(m)
	if err != nil {
		return json.RawMessage("null")
	}
	return text
}

func (a *agent) view() map[string]any {
	files := map[string]string{}
	for name, file := range a.report.EffectiveConfig.GetConfigMap().GetConfigMap() {
		files[name] = string(file.Body)
	}
	identifying, other := map[string]string{}, map[string]string{}
	for _, kv := range a.report.AgentDescription.GetIdentifyingAttributes() {
		identifying[kv.Key] = kv.Value.GetStringValue()
	}
	for _, kv := range a.report.AgentDescription.GetNonIdentifyingAttributes() {
		other[kv.Key] = kv.Value.GetStringValue()
	}
	offered := ""
	if a.offer != nil {
		offered = hex.EncodeToString(a.offer.ConfigHash)
	}
	return map[string]any{
		"connected": a.conn != nil, "connections": a.connections, "messages": a.messages, "heartbeats": a.heartbeats,
		"disconnects": a.disconnects, "gaps": a.gaps, "sequence": a.sequence, "capabilities": a.report.Capabilities,
		"identifying": identifying, "non_identifying": other, "effective": files, "offered": offered,
		"health": asJSON(a.report.Health), "healthy": a.report.Health.GetHealthy(), "statuses": a.statuses, "healths": a.healths,
		"headers": a.header, "last": float64(a.last.UnixNano()) / 1e9,
	}
}
