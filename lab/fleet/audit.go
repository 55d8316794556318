// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package fleet

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"
)

// maxAuditLine bounds one entry of the audit log; metadata entries are around 1 KiB.
const maxAuditLine = 1 << 20

// auditEntry is the part of an audit.k8s.io/v1 Event that is counted.
type auditEntry struct {
	Verb      string    `json:"verb"`
	UserAgent string    `json:"userAgent"`
	URI       string    `json:"requestURI"`
	SourceIPs []string  `json:"sourceIPs"`
	Received  time.Time `json:"requestReceivedTimestamp"`
	ObjectRef struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		APIGroup    string `json:"apiGroup"`
	} `json:"objectRef"`
}

// agent is the program that asked, without its version.
func (e auditEntry) agent() string {
	agent, _, _ := strings.Cut(e.UserAgent, "/")
	return agent
}

func (e auditEntry) in(from, to time.Time) bool {
	return !e.Received.Before(from) && !e.Received.After(to)
}

// counts is whether the request is one of the operator's parts, and neither a watch nor about a Lease.
func (e auditEntry) counts() bool {
	return strings.HasPrefix(e.agent(), "drydock-") && e.agent() != "drydock-lab" && e.Verb != "watch" && e.ObjectRef.Resource != "leases"
}

func (e auditEntry) countsFor(from, to time.Time) bool { return e.counts() && e.in(from, to) }

// readsAll is whether the request reads all objects of a type: a watch may begin with that.
func (e auditEntry) readsAll() bool {
	return e.Verb == "list" || e.Verb == "watch" && strings.Contains(e.URI, "sendInitialEvents=true")
}

func (e auditEntry) String() string {
	what := e.ObjectRef.Resource
	if e.ObjectRef.Subresource != "" {
		what += "/" + e.ObjectRef.Subresource
	}
	return strings.TrimSpace(e.agent() + ": " + e.Verb + " " + what)
}

// readAudit calls f with each entry of the API server's audit log.
func readAudit(path string, f func(auditEntry)) error {
	log, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("opening the audit log: %w", err)
	}
	defer log.Close()
	return eachEntry(log, f)
}

func eachEntry(log io.Reader, f func(auditEntry)) error {
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, maxAuditLine)
	for lines.Scan() {
		var e auditEntry
		if json.Unmarshal(lines.Bytes(), &e) == nil { // the last line may be cut off while the server writes it
			f(e)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading the audit log: %w", err)
	}
	return nil
}

// countRequests reads the API server's audit log between two instants.
func countRequests(path string, from, to time.Time, updated int) (KubeRequests, error) {
	f, err := os.Open(path)
	if err != nil {
		return KubeRequests{}, fmt.Errorf("opening the audit log: %w", err)
	}
	defer f.Close()
	return countEntries(f, from, to, updated)
}

func countEntries(log io.Reader, from, to time.Time, updated int) (KubeRequests, error) {
	k := KubeRequests{ByUserAgent: map[string]int{}}
	ours := 0
	err := eachEntry(log, func(e auditEntry) {
		if !e.in(from, to) {
			return
		}
		k.Total++
		k.ByUserAgent[e.agent()]++
		if e.counts() {
			ours++
		}
	})
	if err != nil {
		return k, err
	}
	if updated > 0 {
		k.PerNodeUpdate = math.Round(float64(ours)/float64(updated)*10) / 10
	}
	return k, nil
}
