// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package fleet

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
)

// Unlimited as Config.MaxConcurrent lets every node update at once.
const Unlimited = math.MaxInt

// maxNodes is what one machine can carry as processes, maxSimulated what the lab's address plan can carry.
const (
	maxNodes     = 200
	maxSimulated = 10000
)

// minImage leaves room for the host daemon under its two names and some padding; maxImage keeps a typing mistake from
// filling the disk.
const (
	minImage = 28 << 20
	maxImage = 4 << 30
)

// Config says what a lab is made of. Validate names what is wrong with it.
type Config struct {
	Nodes         int
	From, To      string // versions, without a leading v
	MaxConcurrent int    // nodes that may update at once; Unlimited for all
	RebootTime    time.Duration
	ImageSize     int64 // bytes of the root image
	Replicas      int   // of the workload
	Timeout       time.Duration
	Faults        []Fault
	// Simulated makes the nodes without machines, if set: there is no repository, no image and no disk then.
	Simulated *Simulated
	// JoinFirst leaves the controller out until Roll has seen every node join and be offered the new version: an update is
	// published to a fleet that is there, and is measured without the start of its agents.
	JoinFirst bool
	// WithoutOperator leaves the operator out: the cluster is for somebody else's manifests.
	WithoutOperator bool
	// Images maps further image references to directories that are the root of their containers.
	Images map[string]string

	Dir      string // the lab's own directory, empty at the start
	Binaries Binaries
	Console  Console
	Log      *slog.Logger
}

// Binaries are the programs a lab is made of.
type Binaries struct {
	ControlPlane string // the multi-call control plane
	Hostd        string // goes into the images
	Drydock      string // controller and apiserver
	Agent        string
	Imgtool      string // makes and publishes images
}

// Console is where a person follows the lab.
type Console struct {
	Out  io.Writer
	Live bool                        // Out is a terminal: draw one table and keep it current
	Size func() (columns, lines int) // of the terminal, 0 if not known; only asked when Live
}

// Validate checks everything that can be known before anything starts. Each error names the flag, the
// value and what would do.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch {
	case c.Nodes < 1:
		bad("--nodes %d: the lab needs at least 2 nodes", c.Nodes)
	case c.Nodes == 1 && !c.WithoutOperator:
		bad("--nodes 1: pods of a drained node need another one to go to; use at least 2")
	case c.Simulated != nil && c.Nodes > maxSimulated:
		bad("--nodes %d: the lab simulates at most %d nodes", c.Nodes, maxSimulated)
	case c.Simulated == nil && c.Nodes > maxNodes:
		bad("--nodes %d: the lab runs at most %d nodes on one machine", c.Nodes, maxNodes)
	}
	from, fromErr := ParseVersion(c.From)
	if fromErr != nil {
		bad("--from %q: %w", c.From, fromErr)
	}
	to, toErr := ParseVersion(c.To)
	if toErr != nil {
		bad("--to %q: %w", c.To, toErr)
	}
	if fromErr == nil && toErr == nil {
		switch {
		case to.Equal(from):
			bad("--from and --to are both %s: there would be nothing to update", c.From)
		case to.LessThan(from):
			bad("--to %s is older than --from %s: hosts only move forward", c.To, c.From)
		}
	}
	if c.MaxConcurrent < 1 {
		bad("--max-concurrent %d: at least 1 node must be allowed, or 'unlimited'", c.MaxConcurrent)
	}
	if c.RebootTime < 0 || c.RebootTime > time.Hour {
		bad("--reboot-time %v: between 0s and 1h", c.RebootTime)
	}
	if s := c.Simulated; s != nil {
		if s.StageTime < 0 || s.StageTime > time.Hour {
			bad("--stage-time %v: between 0s and 1h", s.StageTime)
		}
		if s.Idle < 0 || s.Idle > 24*time.Hour {
			bad("--idle %v: between 0s and 24h", s.Idle)
		}
		if s.Apiservers < 0 || s.Apiservers > 10 {
			bad("--apiservers %d: between 1 and 10, or 0 for what the manifest says", s.Apiservers)
		}
	} else if c.ImageSize < minImage || c.ImageSize > maxImage {
		bad("--image-size %s: between %s and %s", FormatSize(c.ImageSize), FormatSize(minImage), FormatSize(maxImage))
	}
	if c.Replicas < 0 || c.Replicas > 1000 {
		bad("--workload-replicas %d: between 0 and 1000", c.Replicas)
	}
	if c.Timeout <= 0 {
		bad("--timeout %v: must be more than 0s", c.Timeout)
	}
	return errors.Join(errs...)
}

// DiskSpace estimates the bytes that a lab of this configuration may write: two slots for each host,
// the images and what is published of them, and the control plane's own files.
func (c *Config) DiskSpace() int64 {
	const plane, perHost = 400 << 20, 8 << 20
	if c.Simulated != nil {
		return plane + int64(c.Nodes)*(1<<20) // etcd and the audit log
	}
	return plane + int64(c.Nodes)*(2*c.ImageSize+perHost) + 6*c.ImageSize
}

// ParseVersion reads a strict semantic version (semver.org), without a leading v.
func ParseVersion(s string) (*semver.Version, error) {
	v, err := semver.StrictNewVersion(s)
	if err != nil {
		return nil, errors.New("not a version like 1.21.0")
	}
	return v, nil
}

// ParseConcurrency reads a number of nodes or the word unlimited.
func ParseConcurrency(s string) (int, error) {
	if strings.EqualFold(s, "unlimited") {
		return Unlimited, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is neither a number of nodes from 1 up nor 'unlimited'", s)
	}
	return n, nil
}

// sizeUnits are the suffixes of ParseSize, longest first so that "MiB" is not read as "B".
var sizeUnits = []struct {
	suffix string
	bytes  int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// ParseSize reads a whole number of bytes with a unit: B, KiB, MiB or GiB.
func ParseSize(s string) (int64, error) {
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/u.bytes {
			break
		}
		return n * u.bytes, nil
	}
	return 0, fmt.Errorf("%q is not a size like 32MiB", s)
}

// FormatSize is the inverse of ParseSize, in the largest unit that keeps it whole.
func FormatSize(n int64) string {
	for _, u := range sizeUnits {
		if n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}
