// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiserver

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/drydock-os/drydock/internal/agentapi"
)

// TestASilentStreamStaysOpen: the limit for writing a line ends with the line. If it did not, each agent would lose its
// stream a few seconds after each event, and come back with a token to be reviewed.
func TestASilentStreamStaysOpen(t *testing.T) {
	for _, http2 := range []bool{true, false} {
		const limit = 250 * time.Millisecond // a busy machine needs some of it
		broken := make(chan error, 1)
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			st := newStream(w, limit)
			err := st.send(agentapi.Event{Type: agentapi.EventAbsent})
			select {
			case <-r.Context().Done():
				err = r.Context().Err()
			case <-time.After(limit * 3 / 2): // that nothing happens in a time takes that time
			}
			if err == nil {
				err = st.send(agentapi.Event{Type: agentapi.EventHeartbeat})
			}
			broken <- err
		}))
		srv.EnableHTTP2 = http2
		srv.StartTLS()
		resp, err := srv.Client().Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		if wanted := map[bool]int{true: 2, false: 1}[http2]; resp.ProtoMajor != wanted {
			t.Fatalf("HTTP/%d, want %d", resp.ProtoMajor, wanted)
		}
		n := 0
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); n++ {
		}
		resp.Body.Close()
		if err := <-broken; err != nil || n != 2 {
			t.Errorf("HTTP/%d: %d lines, and the stream ended with %v", resp.ProtoMajor, n, err)
		}
		srv.Close()
	}
}
