// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/hostd/settings"
	"github.com/drydock-os/drydock/internal/hostd/store"
)

func (s *server) settingsRoutes() map[route]handler {
	return map[route]handler{
		{http.MethodGet, "/"}:                            s.model,
		{http.MethodGet, "/settings"}:                    s.getSettings,
		{http.MethodPatch, "/settings"}:                  s.patchSettings,
		{http.MethodPatch, "/settings/keypair"}:          s.patchPairs,
		{http.MethodGet, "/tx"}:                          s.getTransaction,
		{http.MethodDelete, "/tx"}:                       s.dropTransaction,
		{http.MethodGet, "/tx/list"}:                     s.listTransactions,
		{http.MethodPost, "/tx/commit"}:                  s.commit,
		{http.MethodPost, "/tx/apply"}:                   s.apply,
		{http.MethodPost, "/tx/commit_and_apply"}:        s.commitAndApply,
		{http.MethodGet, "/metadata/affected-services"}:  s.affectedServices,
		{http.MethodGet, "/metadata/setting-generators"}: s.settingGenerators,
		{http.MethodGet, "/metadata/templates"}:          s.templates,
		{http.MethodGet, "/services"}:                    s.services,
		{http.MethodGet, "/configuration-files"}:         s.configurationFiles,
		{http.MethodGet, "/openapi.yaml"}:                func(*http.Request) (any, error) { return document{"application/yaml", openAPI}, nil },
	}
}

// view is what is made of one generation of the store.
type view struct {
	live     store.Data
	settings map[store.Key]store.Value // those that the model accepts
	whole    document                  // all of them, as an answer
}

// view returns the present one. Most requests find it ready: settings change rarely.
func (s *server) view() (*view, error) {
	live := s.cfg.Store.Live()
	if v := s.latest.Load(); v != nil && v.live.Generation == live.Generation {
		return v, nil
	}
	v := &view{live: live, settings: s.cfg.Model.Accept(live.Values, s.cfg.Log)}
	var err error
	if v.whole, err = jsonDocument(section(settings.Nest(v.settings), store.Settings)); err != nil {
		return nil, err
	}
	s.latest.Store(v)
	return v, nil
}

// section returns one part of a tree; an empty one when there is none.
func section(tree map[string]any, name string) any {
	if part, ok := tree[name]; ok {
		return part
	}
	return map[string]any{}
}

func (s *server) getSettings(r *http.Request) (any, error) {
	v, err := s.view()
	if err != nil {
		return nil, err
	}
	keys, err := keysParam(r)
	if err != nil {
		return nil, err
	}
	if keys != nil {
		found := map[store.Key]store.Value{}
		for _, k := range keys {
			if value, ok := v.settings[k]; ok {
				found[k] = value
			}
		}
		return section(settings.Nest(found), store.Settings), nil
	}
	prefix, given, err := sectionPrefix(r, store.Settings)
	switch {
	case err != nil:
		return nil, err
	case given:
		return section(settings.Nest(withPrefix(v.settings, prefix)), store.Settings), nil
	case len(v.settings) == 0:
		return nil, notFound(store.Settings)
	}
	return v.whole, nil
}

func (s *server) patchSettings(r *http.Request) (any, error) {
	tx, err := transaction(r)
	if err != nil {
		return nil, err
	}
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	values, err := s.cfg.Model.Parse(body)
	if err != nil {
		return nil, badJSON(err)
	}
	return nil, s.put(tx, values)
}

// badJSON gives an error of reading a body its text.
func badJSON(err error) error {
	if e, ok := errors.AsType[*settings.Error](err); ok {
		return badRequest("Json deserialize error: %v at line %d column %d", e, e.Line, e.Column)
	}
	if _, ok := errors.AsType[*settings.SyntaxError](err); ok {
		return badRequest("Json deserialize error: %v", err)
	}
	return err
}

func (s *server) patchPairs(r *http.Request) (any, error) {
	tx, err := transaction(r)
	if err != nil {
		return nil, err
	}
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	pairs, err := settings.DecodePairs(body, "request_payload")
	if err != nil {
		return nil, badJSON(err)
	}
	values, err := s.cfg.Model.ParsePairs(pairs)
	if e, ok := errors.AsType[*settings.PairError](err); ok {
		return nil, badRequest("Failed to split the string: %s", e.Text)
	}
	if e, ok := errors.AsType[*settings.KeyError](err); ok {
		return nil, badKey(e.Name, errors.Unwrap(e))
	}
	if errors.Is(err, settings.ErrInvalid) {
		return nil, badRequest("Unable to match your input to the data model. %v. Lists and other values that key=value cannot express are given as JSON", err)
	}
	if err != nil {
		return nil, err
	}
	return nil, s.put(tx, values)
}

func (s *server) put(tx string, values map[store.Key]store.Value) error {
	return badTransaction(s.cfg.Store.Put(tx, values))
}

// badTransaction makes the name of a transaction the client's fault.
func badTransaction(err error) error {
	if errors.Is(err, store.ErrTransaction) {
		return badRequest("%v", err)
	}
	return err
}

func (s *server) getTransaction(r *http.Request) (any, error) {
	tx, err := transaction(r)
	if err != nil {
		return nil, err
	}
	values, err := s.cfg.Store.Pending(tx)
	if err != nil {
		return nil, badTransaction(err)
	}
	return section(settings.Nest(values), store.Settings), nil
}

func (s *server) dropTransaction(r *http.Request) (any, error) {
	tx, err := transaction(r)
	if err != nil {
		return nil, err
	}
	keys, err := s.cfg.Store.Drop(tx)
	return names(keys), badTransaction(err)
}

func (s *server) listTransactions(*http.Request) (any, error) {
	return s.cfg.Store.Transactions()
}

func (s *server) commit(r *http.Request) (any, error) {
	keys, err := s.commitKeys(r)
	return names(keys), err
}

func (s *server) commitKeys(r *http.Request) ([]store.Key, error) {
	tx, err := transaction(r)
	if err != nil {
		return nil, err
	}
	keys, err := s.cfg.Store.Commit(tx)
	if errors.Is(err, settings.ErrInvalid) {
		return nil, badRequest("%v. Nothing was changed; correct it in the same transaction, or drop that", err)
	}
	if err != nil {
		return nil, badTransaction(err)
	}
	s.cfg.Log.Info("settings committed", "transaction", tx, "keys", len(keys))
	return keys, nil
}

func (s *server) apply(r *http.Request) (any, error) {
	keys, err := keysParam(r)
	if err != nil {
		return nil, err
	}
	wait, err := flag(r, hostapi.WaitParam)
	if err != nil {
		return nil, err
	}
	return nil, s.applyKeys(r.Context(), keys, wait)
}

func (s *server) commitAndApply(r *http.Request) (any, error) {
	wait, err := flag(r, hostapi.WaitParam)
	if err != nil {
		return nil, err
	}
	if err := s.cfg.Applies.usable(); err != nil { // before anything is changed
		return nil, err
	}
	keys, err := s.commitKeys(r)
	if err != nil {
		return nil, err
	}
	return names(keys), s.applyKeys(r.Context(), keys, wait)
}

// applyKeys starts the applier and, when asked to, waits for its end.
func (s *server) applyKeys(ctx context.Context, keys []store.Key, wait bool) error {
	round, err := s.cfg.Applies.start(keys)
	if err != nil || !wait {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, hostapi.MaxWait)
	defer cancel()
	select {
	case <-round.done:
		if round.err != nil {
			return fmt.Errorf("applying settings: %w", round.err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("applying settings: not finished after %v, and still going on", hostapi.MaxWait.Round(time.Second))
	}
}
