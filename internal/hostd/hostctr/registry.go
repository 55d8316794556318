// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostctr

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/pelletier/go-toml/v2"
)

// Registries say where images are looked for, and who is asking.
type Registries struct {
	Mirrors     map[string]Mirror     `toml:"mirrors"` // by registry; "*" stands for all others
	Credentials map[string]Credential `toml:"creds"`   // by registry or mirror
}

// Mirror lists places to ask before a registry itself.
type Mirror struct {
	Endpoints []string `toml:"endpoints"`
}

// Credential is what one registry wants to see. Its values are never logged.
type Credential struct {
	Username      string `toml:"username"`
	Password      string `toml:"password"`
	Auth          string `toml:"auth"` // base64 of user name, colon, password
	IdentityToken string `toml:"identitytoken"`
}

const maxRegistryConfig = 1 << 20

// ReadRegistries reads the file that the settings container-registry are written to. Without one there is nothing to know.
func ReadRegistries(root, path string) (Registries, error) {
	var r Registries
	if path == "" {
		return r, nil
	}
	f, err := os.Open(filepath.Join(root, path))
	if errors.Is(err, os.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("reading registry configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxRegistryConfig))
	if err != nil {
		return r, fmt.Errorf("reading registry configuration: %w", err)
	}
	return ParseRegistries(data)
}

// ParseRegistries reads the TOML of a registry configuration. Keys that it does not know are left alone: the template may
// be of another version.
func ParseRegistries(data []byte) (Registries, error) {
	var r Registries
	if err := toml.Unmarshal(data, &r); err != nil {
		// The library's longer text quotes lines, and these hold passwords.
		if e, ok := errors.AsType[*toml.DecodeError](err); ok {
			line, column := e.Position()
			return r, fmt.Errorf("reading registry configuration: line %d column %d is not as expected", line, column)
		}
		return r, errors.New("reading registry configuration: it is no TOML of this form")
	}
	for registry, m := range r.Mirrors {
		for _, e := range m.Endpoints {
			if _, err := endpoint(e); err != nil {
				return r, fmt.Errorf("reading registry configuration: mirror of %s: %w", registry, err)
			}
		}
	}
	for registry, c := range r.Credentials {
		if _, _, err := c.login(); err != nil {
			return r, fmt.Errorf("reading registry configuration: credentials for %s: %w", registry, err)
		}
	}
	return r, nil
}

// login returns user name and secret. An identity token has no user name.
func (c Credential) login() (user, secret string, err error) {
	switch {
	case c.Username != "":
		return c.Username, c.Password, nil
	case c.IdentityToken != "":
		return "", c.IdentityToken, nil
	case c.Auth != "":
		text, err := base64.StdEncoding.DecodeString(c.Auth)
		if err != nil {
			return "", "", errors.New("auth is not base64")
		}
		user, secret, found := strings.Cut(string(text), ":")
		if !found {
			return "", "", errors.New("auth holds no colon between user name and password")
		}
		return user, strings.TrimRight(secret, "\x00"), nil
	}
	return "", "", nil
}

// endpoint reads the address of a mirror. One without a scheme is asked over TLS unless it is on this host.
func endpoint(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		scheme := "https"
		if local, _ := docker.MatchLocalhost(text); local {
			scheme = "http"
		}
		text = scheme + "://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("an endpoint is not a URL")
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("endpoint %s: want http:// or https://", u.Redacted())
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v2"
	}
	return u, nil
}

// hosts tells where images of a registry are: at its mirrors, in their order, and then at the registry itself. Each is
// shown only the credentials that are its own.
func (r Registries) hosts(ctx context.Context, client *http.Client, aws AWS) docker.RegistryHosts {
	return func(registry string) ([]docker.RegistryHost, error) {
		mirror, ok := r.Mirrors[registry]
		if !ok {
			mirror = r.Mirrors["*"]
		}
		own, err := docker.DefaultHost(registry)
		if err != nil {
			return nil, err
		}
		var hosts []docker.RegistryHost
		for i, text := range append(append([]string{}, mirror.Endpoints...), own) {
			u, err := endpoint(text)
			if err != nil {
				return nil, err
			}
			names := []string{u.Host}
			if i == len(mirror.Endpoints) {
				names = append(names, registry)
			}
			hosts = append(hosts, docker.RegistryHost{
				Client: client, Host: u.Host, Scheme: u.Scheme, Path: u.Path,
				Capabilities: docker.HostCapabilityResolve | docker.HostCapabilityPull,
				Authorizer: docker.NewDockerAuthorizer(docker.WithAuthClient(client), docker.WithAuthCreds(func(string) (string, string, error) {
					for _, name := range names {
						if c, ok := r.Credentials[name]; ok {
							return c.login()
						}
					}
					return aws.login(ctx, client, u.Host)
				})),
			})
		}
		return hosts, nil
	}
}

const (
	dialLimit   = 30 * time.Second
	stallLimit  = time.Minute // without a single byte
	headerLimit = 30 * time.Second
)

// newHTTPClient returns a client that a stalled server cannot hold, however long a download takes.
func newHTTPClient() *http.Client {
	dialer := &net.Dialer{Timeout: dialLimit}
	return &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return stallConn{c}, nil
		},
		TLSHandshakeTimeout: dialLimit, ResponseHeaderTimeout: headerLimit, IdleConnTimeout: headerLimit,
		ForceAttemptHTTP2: true, MaxIdleConns: 10,
	}}
}

// stallConn ends when nothing comes for too long.
type stallConn struct{ net.Conn }

func (c stallConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(stallLimit)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}
