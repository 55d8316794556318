// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"time"

	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/manifest"
	"github.com/drydock-os/drydock/internal/tuf"
)

// ErrWithdrawn means that the chosen update is not offered to this host any more.
var ErrWithdrawn = errors.New("the chosen update is no longer offered")

// offered is the state of the repository as this host may use it.
type offered struct {
	client     *tuf.Client
	manifest   *manifest.Manifest
	host       manifest.Host
	applicable []manifest.Update // newest first
	held       *manifest.Held    // what is published and not to be moved to now
	close      func()
}

// consult reads settings, repository and manifest afresh. change may have its say about the host.
func (e *Engine) consult(ctx context.Context, change ...func(*manifest.Host)) (*offered, error) {
	s, err := readSettings(e.path(settingsPath))
	if err != nil {
		return nil, err
	}
	e.rate.Store(s.rate)
	id := e.cfg.System
	http, done := e.cfg.HTTP, func() {}
	if http == nil {
		http = tuf.NewHTTPClient(s.proxy)
		done = http.CloseIdleConnections
	}
	// The memory of one repository says nothing about another one.
	key := sha256.Sum256([]byte(s.metadataURL))
	client, err := tuf.NewClient(tuf.Config{
		TrustedRoot: id.TrustedRoot,
		Dir:         filepath.Join(e.path(metadataPath), hex.EncodeToString(key[:8])),
		MetadataURL: s.metadataURL, TargetsURL: s.targetsURL,
		Query: url.Values{"version": {id.Version.String()}, "seed": {strconv.FormatUint(uint64(s.seed), 10)}},
		HTTP:  http, UserAgent: "drydock-hostd", Now: e.cfg.Now,
	})
	if err != nil {
		return nil, fmt.Errorf("update settings: %w", err)
	}
	o := &offered{client: client, close: done, host: manifest.Host{
		Variant: id.Release.Variant, Arch: id.Arch, Running: id.Version,
		Seed: s.seed, IgnoreWaves: s.ignoreWaves, Lock: s.lock, LegacyWaves: s.legacyWaves,
	}}
	for _, f := range change {
		f(&o.host)
	}
	if err := o.load(ctx, e); err != nil {
		done()
		return nil, err
	}
	return o, nil
}

func (o *offered) load(ctx context.Context, e *Engine) error {
	if err := o.client.Refresh(ctx); err != nil {
		return fmt.Errorf("reading update repository: %w", err)
	}
	data, err := o.client.Read(ctx, manifest.TargetName, manifest.MaxSize)
	if err != nil {
		return fmt.Errorf("downloading %w", err)
	}
	m, err := manifest.Parse(data)
	if err != nil {
		return err
	}
	now := e.cfg.Now()
	o.manifest = m
	o.applicable, o.held = m.Applicable(o.host, now), m.Held(o.host, now)
	return nil
}

// refresh finds out what this host should move to.
func (e *Engine) refresh(ctx context.Context) (*Offer, error) {
	o, err := e.consult(ctx)
	if err != nil {
		return nil, err
	}
	defer o.close()
	found := &Offer{Available: []string{}}
	for _, u := range o.applicable {
		found.Available = append(found.Available, u.Version.String())
	}
	if u := manifest.Choose(o.host, o.applicable); u != nil {
		image := hostapi.Image{Arch: u.Arch, Version: u.Version.String(), Variant: u.Variant}
		blocked, err := e.blocked()
		if err != nil {
			return nil, err
		}
		if err := blocked.check(image); err != nil {
			// Something else than the best is not looked for: every detour costs the host another reboot.
			e.cfg.Log.Warn("update not chosen", "version", image.Version, "error", err)
			found.Held = &hostapi.HeldUpdate{Version: image.Version, Reason: hostapi.HeldAsBlocked}
			return found, nil
		}
		found.Chosen = &image
		return found, nil
	}
	found.Held = o.heldUpdate()
	return found, nil
}

// heldUpdate says for readers of the status why nothing is chosen.
func (o *offered) heldUpdate() *hostapi.HeldUpdate {
	if o.held == nil {
		return nil
	}
	held := &hostapi.HeldUpdate{Version: o.held.Version.String(), Reason: hostapi.HeldReason(o.held.Reason)}
	if !o.held.Until.IsZero() {
		held.Until = o.held.Until.UTC().Format(time.RFC3339)
	}
	if o.host.Lock != nil {
		held.LockedTo = o.host.Lock.String()
	}
	return held
}

// find returns the update that was chosen, if the repository still offers it.
func (o *offered) find(chosen hostapi.Image) (*manifest.Update, error) {
	for i, u := range o.applicable {
		if u.Variant == chosen.Variant && u.Arch == chosen.Arch && u.Version.String() == chosen.Version {
			return &o.applicable[i], nil
		}
	}
	return nil, fmt.Errorf("%s %s: %w: refresh and try again", chosen.Variant, chosen.Version, ErrWithdrawn)
}
