// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"github.com/drydock-os/drydock/internal/manifest"
	"github.com/drydock-os/drydock/internal/tuf"
)

// CheckConfig says which repository is examined, and how. Fields are required unless they name a default.
type CheckConfig struct {
	// Files is a repository in a folder. URL is one on a server: the folder above "<variant>/<arch>/" and "targets/".
	// Exactly one of them is given.
	Files fs.FS
	URL   string

	TrustedRoot []byte        // a root.json
	Parts       []string      // "<variant>/<arch>"; default: all of Files
	Quick       bool          // do not read targets, only see that they are there with their length
	Warn        time.Duration // what expires within this time is a fault; default: only what is expired
	Now         time.Time
	HTTP        *http.Client // for URL; default: that of tuf.Config
}

// Report says how a repository is.
type Report struct {
	Parts  []PartReport `json:"parts"`
	Faults []string     `json:"faults"` // those of all parts, and those of the repository as a whole
}

// PartReport says how one variant and arch is.
type PartReport struct {
	Part    string               `json:"part"`
	Expires map[string]time.Time `json:"expires"` // by role
	Updates []string             `json:"updates"` // versions, as listed
	Targets int                  `json:"targets"`
	Bytes   int64                `json:"bytes"` // of all targets
	Faults  []string             `json:"faults"`
}

// Check examines a repository as a host would read it: signatures, dates, the manifest, and each target. What is wrong
// is in the report; the error is only for what kept Check from looking.
func Check(ctx context.Context, cfg CheckConfig) (*Report, error) {
	base := strings.TrimSuffix(cfg.URL, "/")
	parts := cfg.Parts
	if cfg.Files != nil {
		base, cfg.HTTP = "http://repository.invalid", tuf.NewFileClient(cfg.Files)
		if len(parts) == 0 {
			var err error
			if parts, err = tuf.Parts(cfg.Files); err != nil {
				return nil, err
			}
		}
	}
	r := &Report{Parts: []PartReport{}, Faults: []string{}}
	if len(parts) == 0 {
		r.Faults = append(r.Faults, "nothing is published")
	}
	for _, part := range parts {
		p, err := checkPart(ctx, cfg, base, part)
		if err != nil {
			return nil, err
		}
		r.Parts = append(r.Parts, *p)
		for _, fault := range p.Faults {
			r.Faults = append(r.Faults, part+": "+fault)
		}
	}
	return r, nil
}

func checkPart(ctx context.Context, cfg CheckConfig, base, part string) (_ *PartReport, err error) {
	p := &PartReport{Part: part, Expires: map[string]time.Time{}, Updates: []string{}, Faults: []string{}}
	fault := func(format string, args ...any) { p.Faults = append(p.Faults, fmt.Sprintf(format, args...)) }
	// What earlier runs have seen must not matter, so nothing is remembered.
	store, err := os.MkdirTemp("", "drydock-check-*")
	if err != nil {
		return nil, fmt.Errorf("checking repository: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(store)) }()
	c, err := tuf.NewClient(tuf.Config{
		TrustedRoot: cfg.TrustedRoot, Dir: store, MetadataURL: base + "/" + part + "/", TargetsURL: base + "/targets/",
		HTTP: cfg.HTTP, UserAgent: "drydock-imgtool",
		Now: tuf.Earliest, // expired metadata is examined too; its dates are judged below
	})
	if err != nil {
		return nil, err
	}
	if err := c.Refresh(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		fault("%v", err)
		return p, nil
	}
	p.Expires = c.Expiry()
	for _, role := range tuf.Roles() {
		switch at := p.Expires[role]; {
		case !at.After(cfg.Now):
			fault("%s.json expired on %s", role, at.Format(time.RFC3339))
		case !at.After(cfg.Now.Add(cfg.Warn)):
			fault("%s.json expires on %s", role, at.Format(time.RFC3339))
		}
	}
	checkManifest(ctx, c, p, fault)
	for _, t := range c.Targets() {
		p.Targets++
		p.Bytes += t.Length
		if err := checkTarget(ctx, c, t, cfg.Quick); err != nil {
			if ctx.Err() != nil {
				return nil, err
			}
			fault("target %v", err)
		}
	}
	return p, nil
}

func checkManifest(ctx context.Context, c *tuf.Client, p *PartReport, fault func(string, ...any)) {
	data, err := c.Read(ctx, manifest.TargetName, manifest.MaxSize)
	if errors.Is(err, tuf.ErrAbsent) {
		fault("%v", err)
	}
	if err != nil {
		return // what is wrong with it as a target is found with the others
	}
	m, err := manifest.Parse(data)
	if err != nil {
		fault("%v", err)
		return
	}
	for _, err := range m.Faults() {
		fault("manifest: %v", err)
	}
	for _, u := range m.Updates {
		p.Updates = append(p.Updates, u.Version.String())
		if part := path.Join(u.Variant, u.Arch); part != p.Part {
			fault("manifest: it offers an update for %s", part)
		}
	}
	for _, name := range m.Targets() {
		if _, err := c.Lookup(name); err != nil {
			fault("manifest: it refers to a target that is %v", err)
		}
	}
}

func checkTarget(ctx context.Context, c *tuf.Client, t tuf.Target, quick bool) error {
	r, _, err := c.Open(ctx, t.Name)
	if err != nil {
		return err
	}
	defer r.Close()
	if quick {
		return nil
	}
	_, err = io.Copy(io.Discard, r)
	return err
}
