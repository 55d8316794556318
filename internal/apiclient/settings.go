// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiclient

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/hostapi/userdata"
)

// get prints what the host says about itself.
func get(ctx context.Context, a *app, args []string) error {
	var uris []string
	for _, arg := range args {
		switch {
		case strings.HasPrefix(arg, "-"):
			return cli.Usagef("unexpected argument %q", arg)
		case strings.HasPrefix(arg, "/") && len(args) > 1:
			return cli.Usagef("give one /URI alone, or prefixes")
		case strings.HasPrefix(arg, "/"):
			uris = append(uris, arg)
		default:
			uris = append(uris, "/?prefix="+arg)
		}
	}
	if len(args) == 0 {
		uris = []string{"/?prefix=os.", "/?prefix=settings."}
	}
	var merged any
	for _, uri := range uris {
		reply, err := a.request(ctx, http.MethodGet, uri, nil)
		if err != nil {
			return err
		}
		value, err := decode(reply)
		if err != nil {
			return fmt.Errorf("reading the reply to GET %s: %w", uri, err)
		}
		if _, ok := value.(map[string]any); !ok && len(uris) > 1 {
			return fmt.Errorf("reading the reply to GET %s: not an object", uri)
		}
		merged = merge(merged, value)
	}
	return a.print(merged)
}

// decode reads one JSON value and keeps numbers as they are written.
func decode(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON value")
	}
	return v, nil
}

// merge puts over on top of base: objects are merged, everything else is replaced.
func merge(base, over any) any {
	b, ok := base.(map[string]any)
	o, ok2 := over.(map[string]any)
	if !ok || !ok2 {
		return over
	}
	for key, value := range o {
		if old, ok := b[key]; ok {
			value = merge(old, value)
		}
		b[key] = value
	}
	return b
}

// print shows a value as JSON for people.
func (a *app) print(v any) error {
	e := json.NewEncoder(a.Stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// set changes settings, all or none.
func set(ctx context.Context, a *app, args []string) error {
	var pairs []string
	var object map[string]any
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "-j" || arg == "--json":
			if i++; i == len(args) {
				return cli.Usagef("%s needs a value", arg)
			}
			if object != nil {
				return cli.Usagef("give one %s only", arg)
			}
			v, err := decode([]byte(args[i]))
			if err != nil {
				return cli.Usagef("%s: %w", arg, err)
			}
			var ok bool
			if object, ok = v.(map[string]any); !ok {
				return cli.Usagef("%s: want an object", arg)
			}
		case strings.HasPrefix(arg, "-") || !strings.Contains(arg, "="):
			return cli.Usagef("unexpected argument %q: want KEY=VALUE", arg)
		default:
			pairs = append(pairs, arg)
		}
	}
	if (len(pairs) == 0) == (object == nil) {
		return cli.Usagef("give either KEY=VALUE or -j JSON")
	}
	tx := newTransaction("apiclient-set-")
	if object != nil {
		if inner, ok := object["settings"].(map[string]any); ok && len(object) == 1 {
			object = inner
		}
		return a.change(ctx, tx, "/settings", object)
	}
	return a.change(ctx, tx, "/settings/keypair", map[string][]string{"request_payload": pairs})
}

// newTransaction returns a name that nobody else uses.
func newTransaction(prefix string) string { return prefix + rand.Text()[:16] }

// change puts bodies into a transaction of our own, then commits and applies it. On failure nothing stays behind.
func (a *app) change(ctx context.Context, tx, path string, bodies ...any) error {
	query := "?tx=" + tx
	err := a.commit(ctx, query, path, bodies)
	if err != nil {
		_, _ = a.request(ctx, http.MethodDelete, "/tx"+query, nil) // best effort: the error is being told
	}
	return err
}

func (a *app) commit(ctx context.Context, query, path string, bodies []any) error {
	for _, body := range bodies {
		data, err := json.Marshal(body)
		if err == nil {
			_, err = a.request(ctx, http.MethodPatch, path+query, data)
		}
		if err != nil {
			return err
		}
	}
	_, err := a.request(ctx, http.MethodPost, "/tx/commit_and_apply"+query, nil)
	return err
}

const (
	maxSource     = 2 << 20 // bytes of one source
	sourcesAtOnce = 4
	sourceTimeout = time.Minute
)

// apply changes settings by what sources say, later ones on top of earlier ones, all or none.
func apply(ctx context.Context, a *app, args []string) error {
	for _, arg := range args {
		if arg != "-" && strings.HasPrefix(arg, "-") {
			return cli.Usagef("unexpected argument %q", arg)
		}
	}
	if len(args) == 0 {
		args = []string{"-"}
	}
	bodies, faults := make([]any, len(args)), make([]error, len(args))
	slots := make(chan struct{}, sourcesAtOnce)
	var fetches sync.WaitGroup
	for i, source := range args {
		slots <- struct{}{}
		fetches.Go(func() {
			defer func() { <-slots }()
			bodies[i], faults[i] = a.source(ctx, source)
		})
	}
	fetches.Wait()
	if err := errors.Join(faults...); err != nil {
		return err
	}
	return a.change(ctx, newTransaction("apiclient-apply-"), "/settings", bodies...)
}

// source reads and parses one source.
func (a *app) source(ctx context.Context, name string) (any, error) {
	data, err := a.read(ctx, name)
	if err == nil && len(data) > maxSource {
		err = fmt.Errorf("larger than %d bytes", maxSource)
	}
	if err != nil {
		return nil, fmt.Errorf("reading settings from %s: %w", name, err)
	}
	parsed, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("reading settings from %s: %w", name, err)
	}
	settings, ok := parsed["settings"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("reading settings from %s: no 'settings' at the top", name)
	}
	return settings, nil
}

// parse reads TOML or JSON. No TOML begins with a brace, and all JSON that has settings does; so that a mistake is told
// in the language that it was made in.
func parse(data []byte) (map[string]any, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return userdata.Parse(data)
	}
	v, err := decode(data)
	if err != nil {
		return nil, err
	}
	return v.(map[string]any), nil
}

func (a *app) read(ctx context.Context, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(io.LimitReader(a.Stdin, maxSource+1))
	}
	u, err := url.Parse(name)
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "file":
		f, err := os.Open(u.Path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return io.ReadAll(io.LimitReader(f, maxSource+1))
	case "http", "https":
		ctx, cancel := context.WithTimeout(ctx, sourceTimeout)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, name, http.NoBody)
		if err != nil {
			return nil, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("the server answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
		}
		return io.ReadAll(io.LimitReader(resp.Body, maxSource+1))
	}
	return nil, errors.New("want file://, http://, https:// or -")
}
