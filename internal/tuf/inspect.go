// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package tuf

import (
	"io/fs"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Earliest is a time at which nothing that this code has ever signed is expired. A Client whose clock says so reads a
// repository whose dates are to be judged separately.
func Earliest() time.Time { return earliest }

// NewFileClient returns an HTTP client for repositories in files: of each URL only the path counts.
func NewFileClient(files fs.FS) *http.Client {
	return &http.Client{Transport: fileTransport{http.NewFileTransportFS(files)}}
}

// fileTransport also fills in the length of answers, which the standard one leaves to their header.
type fileTransport struct{ http.RoundTripper }

func (t fileTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if n, err := strconv.ParseInt(resp.Header.Get("Content-Length"), 10, 64); err == nil {
		resp.ContentLength = n
	}
	return resp, nil
}

// Expiry returns when the metadata of each role expires. Refresh must have succeeded, else it is empty.
func (c *Client) Expiry() map[string]time.Time {
	if c.trusted == nil {
		return map[string]time.Time{}
	}
	return map[string]time.Time{
		metadata.ROOT:      c.trusted.Root.Signed.Expires,
		metadata.TIMESTAMP: c.trusted.Timestamp.Signed.Expires,
		metadata.SNAPSHOT:  c.trusted.Snapshot.Signed.Expires,
		metadata.TARGETS:   c.trusted.Targets[metadata.TARGETS].Signed.Expires,
	}
}

// Targets returns all targets, sorted by name. Refresh must have succeeded, else there are none.
func (c *Client) Targets() []Target {
	if c.trusted == nil {
		return nil
	}
	var list []Target
	for _, name := range slices.Sorted(maps.Keys(c.trusted.Targets[metadata.TARGETS].Signed.Targets)) {
		if t, err := c.Lookup(name); err == nil { // always: the name was just listed
			list = append(list, t)
		}
	}
	return list
}
