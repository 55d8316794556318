// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package server

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"

	"github.com/drydock-os/drydock/internal/hostd/settings"
	"github.com/drydock-os/drydock/internal/hostd/store"
)

const (
	osSection     = "os"
	statusSection = "status"
)

// withPrefix returns the values whose names start with a text, which may end inside a segment.
func withPrefix(values map[store.Key]store.Value, prefix string) map[store.Key]store.Value {
	found := map[store.Key]store.Value{}
	for k, v := range values {
		if strings.HasPrefix(k.String(), prefix) {
			found[k] = v
		}
	}
	return found
}

// sectionPrefix returns the prefix parameter of a route that is about one section, whose name clients may leave out.
func sectionPrefix(r *http.Request, name string) (prefix string, given bool, err error) {
	prefix, given, err = param(r, "prefix")
	if given && err == nil && !strings.HasPrefix(prefix, name) {
		prefix = name + "." + prefix
	}
	return prefix, given, err
}

// inSection tells what a prefix of the whole model means for one section. It reports false when it means nothing there.
func inSection(prefix, name string) (string, bool) {
	start := name + "."
	switch {
	case strings.HasPrefix(start, prefix):
		return start, true
	case strings.HasPrefix(prefix, start):
		return prefix, true
	}
	return "", false
}

// model answers with everything, or with what a prefix asks for. How the latest applying went is told only to those who
// ask for it: clients of the original may refuse sections that they do not know.
func (s *server) model(r *http.Request) (any, error) {
	v, err := s.view()
	if err != nil {
		return nil, err
	}
	prefix, given, err := param(r, "prefix")
	if err != nil {
		return nil, err
	}
	if !given && len(v.settings) == 0 {
		return nil, notFound(store.Settings)
	}
	reply := map[string]any{}
	for name, values := range map[string]map[store.Key]store.Value{
		store.Settings: v.settings, settings.Services: v.live.Values, settings.ConfigurationFiles: v.live.Values,
	} {
		if p, ok := inSection(prefix, name); ok {
			reply[name] = section(settings.Nest(withPrefix(values, p)), name)
		}
	}
	if p, ok := inSection(prefix, osSection); ok {
		if reply[osSection], err = s.osFields(strings.TrimPrefix(p, osSection+".")); err != nil {
			return nil, err
		}
	}
	if strings.HasPrefix(prefix, statusSection) {
		reply[statusSection] = map[string]any{"apply": s.cfg.Applies.status()}
	}
	return reply, nil
}

// os answers with the fields whose names start with the prefix, by default all.
func (s *server) os(r *http.Request) (any, error) {
	prefix, given, err := sectionPrefix(r, osSection)
	if err != nil {
		return nil, err
	}
	if !given {
		return s.cfg.OS(), nil
	}
	return s.osFields(strings.TrimPrefix(strings.TrimPrefix(prefix, osSection), "."))
}

func (s *server) osFields(prefix string) (map[string]any, error) {
	data, err := json.Marshal(s.cfg.OS())
	if err != nil {
		return nil, err
	}
	fields := map[string]any{}
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, err
	}
	maps.DeleteFunc(fields, func(name string, _ any) bool { return !strings.HasPrefix(name, prefix) })
	return fields, nil
}

func (s *server) services(r *http.Request) (any, error) { return s.named(r, settings.Services) }

func (s *server) configurationFiles(r *http.Request) (any, error) {
	return s.named(r, settings.ConfigurationFiles)
}

// named answers with the objects of one section: those with the names given, those with a prefix, or all.
func (s *server) named(r *http.Request, name string) (any, error) {
	live := s.cfg.Store.Live()
	list, given, err := param(r, "names")
	if err != nil {
		return nil, err
	}
	if given {
		found := map[store.Key]store.Value{}
		for one := range strings.SplitSeq(list, ",") {
			outer, err := store.NewKey(name, one)
			if err != nil {
				return nil, badKey(name+"."+one, err)
			}
			below := withPrefix(live.Values, outer.String()+".")
			if len(below) == 0 {
				return nil, notFound(outer.String())
			}
			maps.Copy(found, below)
		}
		return section(settings.Nest(found), name), nil
	}
	prefix, given, err := sectionPrefix(r, name)
	if err != nil {
		return nil, err
	}
	if !given {
		prefix = name + "."
	}
	found := withPrefix(live.Values, prefix)
	if len(found) == 0 && !given {
		return nil, notFound(name)
	}
	return section(settings.Nest(found), name), nil
}

func (s *server) affectedServices(r *http.Request) (any, error) {
	return s.inherited(r, store.AffectedServices)
}

func (s *server) templates(r *http.Request) (any, error) { return s.inherited(r, store.Template) }

// inherited answers with the metadata of the keys asked for. Keys that have none are left out.
func (s *server) inherited(r *http.Request, metadata string) (any, error) {
	keys, err := requiredKeys(r)
	if err != nil {
		return nil, err
	}
	live, reply := s.cfg.Store.Live(), map[string]json.RawMessage{}
	for _, k := range keys {
		if v, ok := live.Inherited(k, metadata); ok {
			reply[k.String()] = v
		}
	}
	return reply, nil
}

// settingGenerators answers with all keys that have one of their own.
func (s *server) settingGenerators(*http.Request) (any, error) {
	reply := map[string]json.RawMessage{}
	for k, known := range s.cfg.Store.Live().Metadata {
		if v, ok := known[store.SettingGenerator]; ok {
			reply[k.String()] = v
		}
	}
	return reply, nil
}
