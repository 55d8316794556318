// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apply

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"

	"github.com/drydock-os/drydock/internal/durable"
	"github.com/drydock-os/drydock/internal/hostd/settings"
	"github.com/drydock-os/drydock/internal/hostd/store"
	"github.com/drydock-os/drydock/internal/hostd/template"
)

// own are the templates that hosts have when their image brings none of that name.
//
//go:embed templates
var own embed.FS

const (
	defaultMode = 0o644
	dirMode     = 0o755
)

// file is one configuration file with its new content.
type file struct {
	path    string // as the host knows it
	at      string // the same below the root
	mode    fs.FileMode
	content []byte
}

// render makes the named files. Where lenient is set, those that cannot be made are left out.
func (a *Applier) render(live store.Data, names []string, lenient bool) ([]file, error) {
	data, err := settings.Tree(a.cfg.Model.Accept(live.Values, a.cfg.Log))
	if err != nil {
		return nil, fmt.Errorf("reading settings: %w", err)
	}
	if data[store.Settings] == nil {
		data[store.Settings] = map[string]any{}
	}
	data["os"] = a.cfg.OS
	var files []file
	for _, name := range names {
		f, err := a.renderFile(live, name, data)
		switch {
		case err == nil:
			files = append(files, f)
		case lenient:
			a.cfg.Log.Warn("configuration file left alone", "file", name, "reason", err)
		default:
			return nil, err
		}
	}
	return files, nil
}

func (a *Applier) renderFile(live store.Data, name string, data map[string]any) (file, error) {
	fields := map[string]string{}
	for _, field := range []string{"path", "template-path", "mode"} {
		k, err := store.NewKey(settings.ConfigurationFiles, name, field)
		if err != nil {
			return file{}, fmt.Errorf("configuration file %q: %w", name, err)
		}
		v, ok := live.Values[k]
		if !ok {
			continue
		}
		var s string
		if err := json.Unmarshal(v, &s); err != nil {
			return file{}, fmt.Errorf("configuration file %q: %s: %w", name, field, err)
		}
		fields[field] = s
	}
	f := file{path: path.Clean("/" + fields["path"]), mode: defaultMode}
	if f.path == "/" || fields["template-path"] == "" {
		return f, fmt.Errorf("configuration file %q: %w", name, errUnknown)
	}
	f.at = filepath.Join(a.cfg.Root, f.path)
	if fields["mode"] != "" {
		mode, err := strconv.ParseUint(fields["mode"], 8, 32)
		if err != nil || mode&^uint64(fs.ModePerm) != 0 {
			return f, fmt.Errorf("configuration file %q: mode %q is not one", name, fields["mode"])
		}
		f.mode = fs.FileMode(mode)
	}
	text, err := a.template(fields["template-path"])
	if err != nil {
		return f, fmt.Errorf("configuration file %s: %w", f.path, err)
	}
	t, err := template.Parse(string(text))
	if err != nil {
		return f, fmt.Errorf("configuration file %s: %w", f.path, err)
	}
	content, err := t.Render(data)
	if err != nil {
		return f, fmt.Errorf("configuration file %s: %w", f.path, err)
	}
	f.content = []byte(content)
	return f, nil
}

// template reads the image's template, or ours of the same name.
func (a *Applier) template(name string) ([]byte, error) {
	f, err := os.Open(filepath.Join(a.cfg.Root, path.Clean("/"+name)))
	if errors.Is(err, fs.ErrNotExist) {
		text, ownErr := own.ReadFile("templates/" + path.Base(name))
		if ownErr != nil {
			return nil, err
		}
		return text, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, template.MaxSize+1))
}

// write replaces the file, unless it is as it should be already.
func (f file) write() (changed bool, err error) {
	if info, err := os.Lstat(f.at); err == nil && info.Mode() == f.mode && info.Size() == int64(len(f.content)) {
		if old, err := os.ReadFile(f.at); err == nil && bytes.Equal(old, f.content) {
			return false, nil
		}
	}
	if err := os.MkdirAll(filepath.Dir(f.at), dirMode); err != nil {
		return false, fmt.Errorf("writing %s: %w", f.at, err)
	}
	if err := durable.WriteFile(f.at, f.content, f.mode); err != nil {
		return false, err
	}
	return true, nil
}

func stringList(v store.Value) ([]string, error) {
	var list []string
	err := json.Unmarshal(v, &list)
	return list, err
}
