// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package logdog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/drydock-os/drydock/internal/hostd/commandline"
)

// request runs one line: a mode, mostly a file of the archive, and what to put there.
func (c *collection) request(ctx context.Context, line string) error {
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	mode, rest, _ := strings.Cut(line, " ")
	if rest = strings.TrimSpace(rest); mode == "glob" {
		return c.glob(rest)
	}
	name, what, _ := strings.Cut(rest, " ")
	what = strings.TrimSpace(what)
	if name == "" || what == "" && mode != "settings" {
		return errors.New("the request is incomplete")
	}
	switch mode {
	case "exec":
		return c.exec(ctx, name, what)
	case "file":
		return c.copy(name, filepath.Join(c.cfg.Root, what))
	case "http", "https":
		return c.download(ctx, name, what)
	case "settings":
		return c.settings(ctx, name)
	}
	return fmt.Errorf("unknown mode %q", mode)
}

// exec has what a program prints. That it fails is no error: what it prints says so.
func (c *collection) exec(ctx context.Context, name, line string) error {
	words, err := commandline.Split(line)
	if err != nil {
		return err
	}
	program, err := findProgram(c.cfg.Root, words[0])
	if err != nil {
		return err
	}
	return c.add(name, func(w io.Writer) error {
		cmd := exec.CommandContext(ctx, program, words[1:]...)
		cmd.Stdout, cmd.Stderr, cmd.WaitDelay = w, w, afterKill
		err := cmd.Run()
		if _, ok := errors.AsType[*exec.ExitError](err); ok && ctx.Err() == nil {
			return nil
		}
		return err
	})
}

// findProgram finds a program on the host. One that is only a directory has those in its usr/bin and usr/sbin.
func findProgram(root, name string) (string, error) {
	if filepath.Clean(root) == "/" {
		return exec.LookPath(name)
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	places := []string{name}
	if !filepath.IsAbs(name) {
		places = []string{"/usr/bin/" + name, "/usr/sbin/" + name}
	}
	for _, place := range places {
		if found := filepath.Join(root, place); exists(found) {
			return found, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

func (c *collection) copy(name, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	return c.add(name, func(w io.Writer) error {
		_, err := io.Copy(w, io.LimitReader(f, maxFile+1))
		return err
	})
}

func (c *collection) download(ctx context.Context, name, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("status %s", resp.Status)
	}
	return c.add(name, func(w io.Writer) error {
		_, err := io.Copy(w, io.LimitReader(resp.Body, maxFile+1))
		return err
	})
}

// glob has the files that match, under their paths. Links are left out: they may lead anywhere.
func (c *collection) glob(pattern string) error {
	found, err := filepath.Glob(filepath.Join(c.cfg.Root, pattern))
	for _, match := range found {
		walked := filepath.WalkDir(match, func(name string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			below, err := filepath.Rel(c.cfg.Root, name)
			if err != nil {
				return err
			}
			return c.copy(below, name)
		})
		err = errors.Join(err, walked)
	}
	return err
}

func (c *collection) settings(ctx context.Context, name string) error {
	data, err := c.cfg.Settings(ctx)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		return err
	}
	redact(v, "")
	return c.add(name, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(v)
	})
}

// secret settings, beside all that are called user-data.
var secret = map[string]bool{
	"settings.kubernetes.bootstrap-token": true, "settings.kubernetes.server-key": true, "settings.network.https-proxy": true,
	"settings.container-registry.credentials": true, "settings.aws.config": true, "settings.aws.credentials": true,
}

func redact(tree map[string]any, at string) {
	for name, v := range tree {
		key := at + name
		if name == "user-data" || secret[key] {
			tree[name] = "REDACTED"
			continue
		}
		if inner, is := v.(map[string]any); is {
			redact(inner, key+".")
		}
	}
}
