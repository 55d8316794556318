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
	Received  time.Time `json:"requestReceivedTimestamp"`
	ObjectRef struct {
		Resource string `json:"resource"`
		APIGroup string `json:"apiGroup"`
	} `json:"objectRef"`
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
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, maxAuditLine)
	for lines.Scan() {
		var e auditEntry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			continue // the last line may be cut off while the server writes it
		}
		if e.Received.Before(from) || e.Received.After(to) {
			continue
		}
		agent, _, _ := strings.Cut(e.UserAgent, "/")
		k.Total++
		k.ByUserAgent[agent]++
		if strings.HasPrefix(agent, "drydock-") && agent != "drydock-lab" &&
			e.Verb != "watch" && e.ObjectRef.Resource != "leases" {
			ours++
		}
	}
	if err := lines.Err(); err != nil {
		return k, fmt.Errorf("reading the audit log: %w", err)
	}
	if updated > 0 {
		k.PerNodeUpdate = math.Round(float64(ours)/float64(updated)*10) / 10
	}
	return k, nil
}
