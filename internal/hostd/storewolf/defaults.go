// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package storewolf

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/drydock-os/drydock/internal/hostapi/userdata"
	"github.com/drydock-os/drydock/internal/hostd/settings"
	"github.com/drydock-os/drydock/internal/hostd/store"
)

const (
	// defaultsFile has defaults of those who built the image, below the root. They go before those of the program.
	defaultsFile = "/etc/storewolf/defaults.toml"

	maxDefaults = 1 << 20
	metadata    = "metadata"
)

// addDefaults adds what the image's own file says to d.
func addDefaults(d settings.Defaults, m *settings.Model, root string) error {
	f, err := os.Open(filepath.Join(root, defaultsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading defaults: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxDefaults+1))
	if err == nil && len(data) > maxDefaults {
		err = fmt.Errorf("larger than %d bytes", maxDefaults)
	}
	if err == nil {
		err = parseDefaults(d, m, data)
	}
	if err != nil {
		return fmt.Errorf("reading defaults: %s: %w", defaultsFile, err)
	}
	return nil
}

// parseDefaults reads the four tables of a defaults file: settings, services, configuration-files, and metadata, which
// has the tables of settings with names of metadata at their ends.
func parseDefaults(d settings.Defaults, m *settings.Model, data []byte) error {
	file, err := userdata.Parse(data)
	if err != nil {
		return err
	}
	for _, table := range slices.Sorted(maps.Keys(file)) {
		var err error
		switch table {
		case store.Settings:
			err = defaultSettings(d, m, file[table])
			if e, ok := errors.AsType[*settings.Error](err); ok {
				err = &userdata.Error{Line: userdata.LineOfItem(data, e.Path(), e.Item), Key: e.Key, Reason: e.Reason}
			}
		case settings.Services, settings.ConfigurationFiles:
			err = leaves([]string{table}, file[table], func(k []string, v store.Value) error {
				key, err := store.NewKey(k...)
				d.Live.Values[key] = v
				return err
			})
		case metadata:
			err = leaves(nil, file[table], func(k []string, v store.Value) error {
				if len(k) < 2 {
					return fmt.Errorf("metadata %s belongs to no key", k[0])
				}
				key, err := store.NewKey(k[:len(k)-1]...)
				if err == nil {
					_, err = store.NewKey(k[len(k)-1])
				}
				d.Live.SetMetadata(key, k[len(k)-1], v)
				return err
			})
		default:
			err = fmt.Errorf("unknown table %s", table)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func defaultSettings(d settings.Defaults, m *settings.Model, table any) error {
	text, err := json.Marshal(table)
	if err != nil {
		return err
	}
	values, err := m.Parse(text)
	if err != nil {
		return err
	}
	maps.Copy(d.Settings, values)
	return nil
}

// leaves calls visit with each value that is no table, and the names that lead to it.
func leaves(at []string, v any, visit func([]string, store.Value) error) error {
	table, is := v.(map[string]any)
	if !is {
		switch v.(type) {
		case string, []any:
		default:
			return fmt.Errorf("%v: %v is neither text nor a list", at, v)
		}
		text, err := json.Marshal(v)
		if err != nil {
			return err
		}
		return visit(at, text)
	}
	for _, name := range slices.Sorted(maps.Keys(table)) {
		if err := leaves(append(slices.Clone(at), name), table[name], visit); err != nil {
			return err
		}
	}
	return nil
}
