// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package engine

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"golang.org/x/net/http/httpproxy"

	"github.com/Masterminds/semver/v3"

	"github.com/drydock-os/drydock/internal/manifest"
)

const maxSettings = 64 << 10

// minRateLimit in bytes per second; below it a download would be taken for stalled.
const minRateLimit = 64 << 10

// settings are what /etc/updog.toml says.
type settings struct {
	metadataURL, targetsURL string
	seed                    uint32
	lock                    *semver.Version // nil: the newest
	ignoreWaves             bool
	legacyWaves             bool  // take the turn that the original client would take
	rate                    int64 // bytes per second; 0: no limit
	proxy                   func(*http.Request) (*url.URL, error)
}

func readSettings(path string) (*settings, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading update settings: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSettings))
	if err != nil {
		return nil, fmt.Errorf("reading update settings: %w", err)
	}
	s, err := parseSettings(data)
	if err != nil {
		return nil, fmt.Errorf("reading update settings: %s: %w", path, err)
	}
	return s, nil
}

func parseSettings(data []byte) (*settings, error) {
	file := struct {
		MetadataURL string   `toml:"metadata_base_url"`
		TargetsURL  string   `toml:"targets_base_url"`
		Seed        uint32   `toml:"seed"`
		VersionLock string   `toml:"version_lock"`
		IgnoreWaves bool     `toml:"ignore_waves"`
		HTTPSProxy  string   `toml:"https_proxy"`
		NoProxy     []string `toml:"no_proxy"`
		LegacyWaves bool     `toml:"legacy_waves"`                // an addition
		Rate        int64    `toml:"rate_limit_bytes_per_second"` // an addition
	}{VersionLock: "latest"}
	if err := toml.Unmarshal(data, &file); err != nil {
		return nil, err
	}
	if file.MetadataURL == "" || file.TargetsURL == "" {
		return nil, errors.New("metadata_base_url and targets_base_url are required")
	}
	s := &settings{
		metadataURL: file.MetadataURL, targetsURL: file.TargetsURL,
		seed: file.Seed, ignoreWaves: file.IgnoreWaves,
	}
	s.legacyWaves, s.rate = file.LegacyWaves, file.Rate
	if s.rate != 0 && s.rate < minRateLimit {
		return nil, fmt.Errorf("rate_limit_bytes_per_second %d: want 0 (no limit) or at least %d", s.rate, minRateLimit)
	}
	var err error
	if s.lock, err = manifest.ParseLock(file.VersionLock); err != nil {
		return nil, err
	}
	// The original puts these into its environment: what goes over plain http does not go through such a proxy.
	proxies := httpproxy.FromEnvironment()
	if file.HTTPSProxy != "" {
		proxies.HTTPSProxy = file.HTTPSProxy
		if file.NoProxy != nil {
			proxies.NoProxy = strings.Join(file.NoProxy, ",")
		}
	}
	choose := proxies.ProxyFunc()
	s.proxy = func(r *http.Request) (*url.URL, error) { return choose(r.URL) }
	return s, nil
}
