// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package generate finds values for settings that nobody has set, by the command lines that the settings store names.
//
// A generator is a program of the image, or one of those of this package. It prints one JSON value, or ends with code 2
// for a setting that is to stay unset; anything else stops the boot. All values are set in one request.
package generate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"

	"github.com/drydock-os/drydock/internal/hostd/commandline"
	"github.com/drydock-os/drydock/internal/hostd/settings"
	"github.com/drydock-os/drydock/internal/hostd/store"
	"github.com/drydock-os/drydock/internal/hostd/storewolf"
)

// ErrSkip means that a generator leaves its setting unset.
var ErrSkip = errors.New("the generator leaves the setting unset")

// API is the host daemon. A request returns the status of the answer and its body.
type API interface {
	Request(ctx context.Context, method, uri string, body []byte) (status int, reply []byte, err error)
}

// Config holds what generating needs. All fields are required.
type Config struct {
	API API
	// Generate runs one command line, split into words, and returns a JSON value. ErrSkip: the setting stays unset.
	Generate func(ctx context.Context, words []string) ([]byte, error)
	Log      *slog.Logger
}

// Run sets what is unset and has a generator. A group counts as set when anything in it is.
func Run(ctx context.Context, cfg Config) error {
	var generators map[string]string
	if err := get(ctx, cfg.API, "/metadata/setting-generators", &generators); err != nil {
		return fmt.Errorf("looking for generators: %w", err)
	}
	have, err := populated(ctx, cfg.API)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(generators))
	for name := range generators {
		names = append(names, name)
	}
	slices.Sort(names)
	values := map[store.Key]store.Value{}
	for _, name := range names {
		key, err := store.ParseKey(name)
		if err != nil {
			return fmt.Errorf("looking for generators: %w", err)
		}
		if slices.ContainsFunc(have, func(k store.Key) bool { return k == key || k.Below(key) }) {
			continue
		}
		words, err := commandline.Split(generators[name])
		if err != nil {
			return fmt.Errorf("generating %s: %w", name, err)
		}
		value, err := cfg.Generate(ctx, words)
		if errors.Is(err, ErrSkip) {
			cfg.Log.Info("setting left unset by its generator", "setting", name)
			continue
		}
		if err != nil {
			return fmt.Errorf("generating %s: %w", name, err)
		}
		if values[key], err = oneValue(value); err != nil {
			return fmt.Errorf("generating %s: %w", name, err)
		}
	}
	if len(values) == 0 {
		return nil
	}
	body, err := json.Marshal(settings.Nest(values)[store.Settings])
	if err != nil {
		return fmt.Errorf("setting generated values: %w", err)
	}
	status, reply, err := cfg.API.Request(ctx, http.MethodPatch, "/settings?tx="+url.QueryEscape(storewolf.LaunchTransaction), body)
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("status %d: %s", status, reply)
	}
	if err != nil {
		return fmt.Errorf("setting generated values: %w", err)
	}
	cfg.Log.Info("settings generated", "count", len(values))
	return nil
}

// populated returns the keys of all settings that count.
func populated(ctx context.Context, api API) ([]store.Key, error) {
	var tree map[string]any
	if err := get(ctx, api, "/?prefix=settings.", &tree); err != nil {
		return nil, fmt.Errorf("looking for what is set: %w", err)
	}
	var keys []store.Key
	err := walk([]string{store.Settings}, tree[store.Settings], func(segments []string) error {
		k, err := store.NewKey(segments...)
		keys = append(keys, k)
		return err
	})
	return keys, err
}

// walk visits all places of a tree, also those inside of values that are objects.
func walk(at []string, v any, visit func([]string) error) error {
	table, _ := v.(map[string]any)
	for name, inner := range table {
		below := append(slices.Clone(at), name)
		if _, is := inner.(map[string]any); !is {
			if err := visit(below); err != nil {
				return err
			}
		}
		if err := walk(below, inner, visit); err != nil {
			return err
		}
	}
	return nil
}

func get(ctx context.Context, api API, uri string, into any) error {
	status, reply, err := api.Request(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("status %d: %s", status, reply)
	}
	return json.Unmarshal(reply, into)
}

// oneValue checks what a generator has printed.
func oneValue(out []byte) (store.Value, error) {
	out = bytes.TrimSpace(out)
	if !json.Valid(out) {
		return nil, errors.New("what it printed is not one JSON value")
	}
	return out, nil
}
