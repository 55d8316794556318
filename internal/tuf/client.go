// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package tuf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
)

// Limits of metadata files in bytes and of the length of the root chain; the original client has the same.
const (
	maxRoot        = 1 << 20
	maxTimestamp   = 1 << 20
	maxSnapshot    = 1 << 20
	maxTargets     = 10 << 20
	maxRootUpdates = 1024
)

// earliest is a time before which no clock can be right: this code did not exist then.
var earliest = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// Config says which repository a Client reads and where it keeps what it knows. Fields are required unless they name
// a default.
type Config struct {
	// TrustedRoot is a root.json that is trusted beforehand, usually from the running image.
	TrustedRoot []byte

	// Dir holds verified metadata between runs, so that nothing older is accepted again. It is made if missing. Use
	// one directory per repository. What is in it is verified again each time: losing it loses only memory.
	Dir string

	// MetadataURL and TargetsURL are the folders of the repository, with or without a trailing slash.
	MetadataURL, TargetsURL string

	// Query is added to every request; servers ignore it, but it shows in their logs. Default: nothing.
	Query url.Values

	// HTTP makes the requests. Default: NewHTTPClient(http.ProxyFromEnvironment).
	HTTP *http.Client

	// UserAgent names the program to servers. Default: Go's.
	UserAgent string

	// Now is the clock by which expiry is judged. Default: time.Now.
	Now func() time.Time
}

// Client reads one repository. It is not safe for concurrent use.
type Client struct {
	cfg      Config
	fetch    *fetcher
	metadata *url.URL
	targets  *url.URL
	store    *store
	trusted  *trustedmetadata.TrustedMetadata // nil until Refresh has succeeded
}

// NewClient checks cfg and returns a Client. It touches neither network nor disk.
func NewClient(cfg Config) (*Client, error) {
	c := &Client{cfg: cfg, store: &store{cfg.Dir, diskFiles{}}}
	if cfg.Dir == "" || len(cfg.TrustedRoot) == 0 {
		return nil, errors.New("reading repository: no directory or no trusted root given")
	}
	var err error
	if c.metadata, err = parseBase(cfg.MetadataURL); err != nil {
		return nil, fmt.Errorf("metadata URL: %w", err)
	}
	if c.targets, err = parseBase(cfg.TargetsURL); err != nil {
		return nil, fmt.Errorf("targets URL: %w", err)
	}
	if c.cfg.Now == nil {
		c.cfg.Now = time.Now
	}
	if c.cfg.HTTP == nil {
		c.cfg.HTTP = NewHTTPClient(http.ProxyFromEnvironment)
	}
	c.fetch = &fetcher{http: c.cfg.HTTP, query: url.Values{}, userAgent: cfg.UserAgent}
	for key, values := range cfg.Query {
		c.fetch.query[key] = values
	}
	return c, nil
}

func parseBase(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is not an http or https URL", s)
	}
	return u, nil
}

// SetQuery adds one parameter to every further request, in place of an earlier value.
func (c *Client) SetQuery(key, value string) { c.fetch.query.Set(key, value) }

// Refresh brings the metadata up to date. Until it returns nil, and after it failed, the Client knows no targets.
//
// Errors: ErrClock, ErrExpired, ErrRollback, ErrSignature, ErrDigest, ErrMalformed, ErrAbsent, ErrTooLarge, those of
// the network, and of ctx.
func (c *Client) Refresh(ctx context.Context) error {
	c.trusted = nil
	now, err := c.now()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("making the metadata directory: %w", err)
	}
	t, err := c.update(ctx, now)
	if errors.Is(err, ErrSignature) {
		// The keys may have been changed after we looked for a new root: look again, once.
		t, err = c.update(ctx, now)
	}
	if err != nil {
		return err
	}
	if err := c.store.write(seenFile, []byte(now.Format(time.RFC3339))); err != nil {
		return err
	}
	c.trusted = t
	return nil
}

// update goes through the metadata from the trusted root to the targets.
func (c *Client) update(ctx context.Context, now time.Time) (*trustedmetadata.TrustedMetadata, error) {
	if err := checkRoot(c.cfg.TrustedRoot); err != nil {
		return nil, malformed("trusted root.json", err)
	}
	t, err := trustedmetadata.New(c.cfg.TrustedRoot)
	if err != nil {
		return nil, classify("trusted root.json", err)
	}
	t.RefTime = now
	for _, step := range []func(context.Context, *trustedmetadata.TrustedMetadata) error{
		c.updateRoot, c.updateTimestamp, c.updateSnapshot, c.updateTargets,
	} {
		if err := step(ctx, t); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// now returns the time for judging expiry. A clock that went back does not make old metadata young again: time
// never counts as earlier than the last success. That cannot lock a host out after its clock was far ahead, because
// then nothing was young enough to succeed.
func (c *Client) now() (time.Time, error) {
	now := c.cfg.Now().UTC()
	if now.Before(earliest) {
		return now, fmt.Errorf("%w: it says %s", ErrClock, now.Format(time.RFC3339))
	}
	if data, err := c.store.read(seenFile, 64); err == nil {
		if seen, err := time.Parse(time.RFC3339, string(data)); err == nil && seen.After(now) {
			return seen, nil
		}
	}
	return now, nil
}

func (c *Client) updateRoot(ctx context.Context, t *trustedmetadata.TrustedMetadata) error {
	for range maxRootUpdates {
		name := strconv.FormatInt(t.Root.Signed.Version+1, 10) + ".root.json"
		data, err := c.store.read(name, maxRoot)
		known := err == nil && checkRoot(data) == nil
		if known {
			_, err = t.UpdateRoot(data)
			known = err == nil
		}
		if known {
			continue
		}
		data, err = c.fetch.file(ctx, c.metadata, name, maxRoot)
		if errors.Is(err, ErrAbsent) {
			return nil // the one we have is the newest
		}
		if err != nil {
			return err
		}
		if err := checkRoot(data); err != nil {
			return malformed(name, err)
		}
		if _, err := t.UpdateRoot(data); err != nil {
			return classify(name, err)
		}
		if err := c.store.write(name, data); err != nil {
			return err
		}
	}
	return fmt.Errorf("root.json: %w: more than %d new versions", ErrTooLarge, maxRootUpdates)
}

func (c *Client) updateTimestamp(ctx context.Context, t *trustedmetadata.TrustedMetadata) error {
	const name = metadata.TIMESTAMP + ".json"
	if data, err := c.store.read(name, maxTimestamp); err == nil && checkTimestamp(data) == nil {
		// Only the floor below which the new one must not fall: it may have expired, and a root with other keys
		// makes it void.
		_, _ = t.UpdateTimestamp(data)
	}
	data, err := c.fetch.file(ctx, c.metadata, name, maxTimestamp)
	if err != nil {
		return err
	}
	if err := checkTimestamp(data); err != nil {
		return malformed(name, err)
	}
	if _, err := t.UpdateTimestamp(data); err != nil {
		if errors.As(err, new(*metadata.ErrEqualVersionNumber)) {
			if t.Timestamp.Signed.IsExpired(t.RefTime) {
				return fmt.Errorf("%s: %w", name, ErrExpired)
			}
			return nil
		}
		if t.Root.Signed.IsExpired(t.RefTime) {
			return fmt.Errorf("root.json: %w", ErrExpired)
		}
		return classify(name, err)
	}
	return c.store.write(name, data)
}

func (c *Client) updateSnapshot(ctx context.Context, t *trustedmetadata.TrustedMetadata) error {
	meta := t.Timestamp.Signed.Meta[snapshotFile]
	if data, err := c.store.read(snapshotFile, maxSnapshot); err == nil && checkSnapshot(data, 0) == nil {
		// The same as stored: done. An older one remains as the floor for the versions in the new one.
		_, err := t.UpdateSnapshot(data, true)
		if err == nil && meta.VerifyLengthHashes(data) == nil {
			return nil
		}
	}
	name := c.versioned(t, meta.Version, snapshotFile)
	data, err := c.fetch.file(ctx, c.metadata, name, limit(meta.Length, maxSnapshot))
	if err != nil {
		return err
	}
	if err := meta.VerifyLengthHashes(data); err != nil {
		return classify(name, err)
	}
	if err := checkSnapshot(data, meta.Version); err != nil {
		return malformed(name, err)
	}
	if _, err := t.UpdateSnapshot(data, false); err != nil {
		return classify(name, err)
	}
	return c.store.write(snapshotFile, data)
}

func (c *Client) updateTargets(ctx context.Context, t *trustedmetadata.TrustedMetadata) error {
	meta := t.Snapshot.Signed.Meta[targetsFile]
	if data, err := c.store.read(targetsFile, maxTargets); err == nil && checkTargets(data, 0) == nil {
		if _, err := t.UpdateTargets(data); err == nil {
			return nil
		}
	}
	name := c.versioned(t, meta.Version, targetsFile)
	data, err := c.fetch.file(ctx, c.metadata, name, limit(meta.Length, maxTargets))
	if err != nil {
		return err
	}
	if err := meta.VerifyLengthHashes(data); err != nil {
		return classify(name, err)
	}
	if err := checkTargets(data, meta.Version); err != nil {
		return malformed(name, err)
	}
	if _, err := t.UpdateTargets(data); err != nil {
		return classify(name, err)
	}
	return c.store.write(targetsFile, data)
}

// versioned is the name of a metadata file on the server.
func (c *Client) versioned(t *trustedmetadata.TrustedMetadata, version int64, name string) string {
	if t.Root.Signed.ConsistentSnapshot {
		return strconv.FormatInt(version, 10) + "." + name
	}
	return name
}

// limit is the signed length of a file when there is one, within the limit for its kind.
func limit(length, most int64) int64 {
	if length > 0 {
		return min(length, most)
	}
	return most
}

// Lookup returns what was signed about a target, or ErrAbsent. Refresh must have succeeded.
func (c *Client) Lookup(name string) (Target, error) {
	if c.trusted == nil {
		return Target{}, errors.New("looking up a target before the repository was refreshed")
	}
	file := c.trusted.Targets[metadata.TARGETS].Signed.Targets[name]
	if file == nil {
		return Target{}, fmt.Errorf("%s: %w", name, ErrAbsent)
	}
	t := Target{Name: name, Length: file.Length}
	copy(t.SHA256[:], file.Hashes["sha256"]) // its size was checked by checkTargets
	return t, nil
}

// Open starts to download a target. The reader verifies while it streams: its bytes are good only once Read has
// returned io.EOF. A *DigestError says that they are not. Broken connections are taken up where they were cut.
func (c *Client) Open(ctx context.Context, name string) (io.ReadCloser, Target, error) {
	t, err := c.Lookup(name)
	if err != nil {
		return nil, t, err
	}
	file := t.Name
	if c.trusted.Root.Signed.ConsistentSnapshot {
		file = t.file()
	}
	r, err := openTarget(ctx, c.fetch, c.targets, file, t)
	if err != nil {
		return nil, t, err
	}
	return r, t, nil
}

// Read downloads a whole small target of at most limit bytes and verifies it.
func (c *Client) Read(ctx context.Context, name string, limit int64) ([]byte, error) {
	t, err := c.Lookup(name)
	if err != nil {
		return nil, err
	}
	if t.Length > limit {
		return nil, fmt.Errorf("%s: %w: %d bytes, at most %d", name, ErrTooLarge, t.Length, limit)
	}
	r, _, err := c.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}
