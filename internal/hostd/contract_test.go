// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/hostapi/hostapitest"
)

func TestContract(t *testing.T) {
	hostapitest.Run(t, func(t *testing.T) hostapitest.Host {
		s := newSite(t, 1<<20, "1.20.0", "1.21.0")
		s.bootLoader()
		d := s.start()
		d.log.await(t, "boot marked successful")
		return hostapitest.Host{
			Socket: filepath.Join(s.root, hostapi.DefaultSocket), Running: "1.20.0", Offered: "1.21.0",
			Hold: func(hostapi.Command) func() {
				c := make(chan struct{})
				s.setTamper(func(_ http.ResponseWriter, r *http.Request) bool {
					if strings.HasSuffix(r.URL.Path, "/timestamp.json") {
						<-c
					}
					return false
				})
				return sync.OnceFunc(func() { close(c) })
			},
		}
	})
}
