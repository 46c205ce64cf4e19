// Command server is an OpAMP server on the reference library, driven over a small HTTP port on
// loopback: the interoperability tests and `make demo` use it.
//
//	server -listen 127.0.0.1:0 -control 127.0.0.1:0 [-cert FILE -key FILE [-client-ca FILE]] [-events | -bare]
//
// Its first line on standard output is JSON: {"opamp": "127.0.0.1:PORT", "control": "..."}.
// With -events a line of JSON follows for each thing that happens, with the time when it did.
// It ends when its standard input is closed, so that no test leaves it behind.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/open-telemetry/opamp-go/protobufs"
	"github.com/open-telemetry/opamp-go/server"
	"github.com/open-telemetry/opamp-go/server/types"
)

type quiet struct{ verbose bool }

func (q quiet) Debugf(_ context.Context, format string, v ...any) {
	if q.verbose {
		fmt.Fprintf(os.Stderr, format+"\n", v...)
	}
}
func (q quiet) Errorf(_ context.Context, format string, v ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", v...)
}

type bed struct {
	mu       sync.Mutex
	server   server.OpAMPServer
	listen   string // after the first start: with the port that was given
	tls      *tls.Config
	verbose  bool
	up       bool
	accepted int
	open     int
	reject   *rejection
	agents   map[string]*agent
	events   bool
	churn    int // so many connections are closed after their first message
}

type rejection struct {
	Status  int
	Headers map[string]string
	Times   int // 0 = for good
}

func (b *bed) connecting(r *http.Request) types.ConnectionResponse {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.reject != nil {
		answer := types.ConnectionResponse{HTTPStatusCode: b.reject.Status, HTTPResponseHeader: b.reject.Headers}
		if b.reject.Times > 0 {
			if b.reject.Times--; b.reject.Times == 0 {
				b.reject = nil
			}
		}
		return answer
	}
	header := r.Header.Clone()
	return types.ConnectionResponse{Accept: true, ConnectionCallbacks: types.ConnectionCallbacks{
		OnConnected: func(context.Context, types.Connection) {
			b.mu.Lock()
			b.accepted++
			b.open++
			b.mu.Unlock()
		},
		OnMessage: func(_ context.Context, c types.Connection, m *protobufs.AgentToServer) *protobufs.ServerToAgent {
			came := now()
			b.mu.Lock()
			defer b.mu.Unlock()
			b.tell(messageEvent(came, m))
			if b.churn > 0 {
				b.churn--
				time.AfterFunc(time.Millisecond, func() { _ = c.Disconnect() }) // after the answer
			}
			return b.message(c, header, m)
		},
		OnConnectionClose: func(c types.Connection) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.open--
			for _, a := range b.agents {
				if a.conn == c {
					a.conn = nil
				}
			}
		},
		OnReadMessageError: func(_ types.Connection, _ int, _ []byte, err error) {
			if errors.Is(err, net.ErrClosed) { // by us
				return
			}
			fmt.Fprintln(os.Stderr, "reading a message:", err)
		},
	}}
}

func (b *bed) start() error {
	if b.up {
		return nil
	}
	b.server = server.New(quiet{b.verbose})
	err := b.server.Start(server.StartSettings{
		Settings:       server.Settings{Callbacks: types.Callbacks{OnConnecting: b.connecting}},
		ListenEndpoint: b.listen,
		TLSConfig:      b.tls,
	})
	if err != nil {
		return err
	}
	b.listen = b.server.Addr().String()
	b.up = true
	return nil
}

func (b *bed) stop() error {
	if !b.up {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	b.up = false
	b.mu.Lock()
	for _, a := range b.agents {
		if a.conn != nil {
			_ = a.conn.Disconnect()
		}
	}
	b.mu.Unlock()
	return b.server.Stop(ctx)
}

func loadTLS(cert, key, clientCA string) (*tls.Config, error) {
	if cert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if clientCA != "" {
		pem, err := os.ReadFile(clientCA)
		if err != nil {
			return nil, err
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("no certificate in " + clientCA)
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return config, nil
}

func run() error {
	listen := flag.String("listen", "127.0.0.1:0", "where agents connect to")
	control := flag.String("control", "127.0.0.1:0", "where tests connect to; loopback")
	cert := flag.String("cert", "", "certificate (PEM): serve wss")
	key := flag.String("key", "", "its private key")
	clientCA := flag.String("client-ca", "", "demand a client certificate of this authority")
	events := flag.Bool("events", false, "a line of JSON on standard output for each event")
	verbose := flag.Bool("v", false, "show the library's log")
	isBare := flag.Bool("bare", false, "the least that is a server: see bare.go")
	flag.Parse()
	if *isBare {
		return runBare(*listen, *control)
	}
	config, err := loadTLS(*cert, *key, *clientCA)
	if err != nil {
		return err
	}
	b := &bed{listen: *listen, tls: config, verbose: *verbose, agents: map[string]*agent{}, events: *events}
	if err := b.start(); err != nil {
		return err
	}
	l, err := net.Listen("tcp", *control)
	if err != nil {
		return err
	}
	first, _ := json.Marshal(map[string]string{"opamp": b.listen, "control": l.Addr().String()})
	fmt.Println(string(first))
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	return http.Serve(l, b.control())
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}
