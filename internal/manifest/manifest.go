// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package manifest reads and writes manifest.json, the list of updates of a repository, and decides which of them
// a host may take.
//
// The manifest is one of the repository's signed targets, so its bytes are already trusted when they come here;
// what is checked is whether they make sense. Everything is a pure function of its arguments: the host, its seed
// and the present time are passed in.
package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
)

const (
	// TargetName is the name of the manifest among the targets of a repository.
	TargetName = "manifest.json"

	// MaxSize bounds a manifest in bytes. The largest known one has about 300 KiB.
	MaxSize = 8 << 20
)

var (
	// ErrExists means that an update of the same variant, arch and version is already in the manifest.
	ErrExists = errors.New("this version is already published")

	// ErrHeldBack means that a version would be offered again that SetMaxVersion has withdrawn.
	ErrHeldBack = errors.New("withdrawn versions would be offered again")

	// ErrVersion means that a text is not a version of the form 1.2.3, without v.
	ErrVersion = errors.New("not a version of the form 1.2.3")
)

// Manifest lists the updates of one repository and the data migrations between versions.
type Manifest struct {
	Updates    []Update
	Migrations []Migration // sorted by From, then To
}

// Update is one image that hosts may move to.
type Update struct {
	Variant    string
	Arch       string
	Version    *semver.Version
	MaxVersion *semver.Version // hosts above it are moved down to it
	Waves      Waves
	Images     Images
}

// Images names the targets that make up an update.
type Images struct {
	Boot string `json:"boot"`
	Root string `json:"root"`
	Hash string `json:"hash"`
}

// Migration names the programs, in order, that carry a host's data from one version to another.
type Migration struct {
	From, To *semver.Version
	Names    []string
}

// ParseVersion reads a version strictly: three numbers, optionally a pre-release and build part, and no v.
func ParseVersion(s string) (*semver.Version, error) {
	v, err := semver.StrictNewVersion(s)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", s, ErrVersion)
	}
	return v, nil
}

// Parse reads a manifest. All fields are required; unknown fields are ignored, because old repositories carry some.
func Parse(data []byte) (*Manifest, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("reading manifest: larger than %d bytes", MaxSize)
	}
	m, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("reading manifest: %w", err)
	}
	return m, nil
}

func parse(data []byte) (*Manifest, error) {
	top, err := parseObject(data, "updates", "migrations")
	if err != nil {
		return nil, err
	}
	var raw []json.RawMessage
	if err := json.Unmarshal(top.fields["updates"], &raw); err != nil {
		return nil, fmt.Errorf("updates: %w", err)
	}
	m := &Manifest{}
	for i, r := range raw {
		u, err := parseUpdate(r)
		if err != nil {
			return nil, fmt.Errorf("update %d: %w", i, err)
		}
		m.Updates = append(m.Updates, u)
	}
	if m.Migrations, err = parseMigrations(top.fields["migrations"]); err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	return m, nil
}

func parseUpdate(data []byte) (Update, error) {
	var u Update
	o, err := parseObject(data, "variant", "arch", "version", "max_version", "waves", "images")
	if err != nil {
		return u, err
	}
	if u.Variant, err = o.text("variant"); err != nil {
		return u, err
	}
	if u.Arch, err = o.text("arch"); err != nil {
		return u, err
	}
	if u.Version, err = o.version("version"); err != nil {
		return u, err
	}
	if u.MaxVersion, err = o.version("max_version"); err != nil {
		return u, err
	}
	if u.Waves, err = parseWaves(o.fields["waves"]); err != nil {
		return u, fmt.Errorf("waves: %w", err)
	}
	images, err := parseObject(o.fields["images"], "boot", "root", "hash")
	if err != nil {
		return u, fmt.Errorf("images: %w", err)
	}
	for name, to := range map[string]*string{"boot": &u.Images.Boot, "root": &u.Images.Root, "hash": &u.Images.Hash} {
		if *to, err = images.text(name); err != nil {
			return u, fmt.Errorf("images: %w", err)
		}
	}
	return u, nil
}

// parseMigrations reads an object with keys of the form "(FROM, TO)".
func parseMigrations(data []byte) ([]Migration, error) {
	o, err := parseObject(data)
	if err != nil {
		return nil, err
	}
	var list []Migration
	for _, key := range o.keys {
		m, err := parseMigrationKey(key)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(o.fields[key], &m.Names); err != nil || m.Names == nil {
			return nil, fmt.Errorf("key %q: want a list of names", key)
		}
		list = append(list, m)
	}
	return list, sortMigrations(list)
}

func parseMigrationKey(key string) (m Migration, err error) {
	inner, ok := strings.CutPrefix(key, "(")
	if ok {
		inner, ok = strings.CutSuffix(inner, ")")
	}
	from, to, comma := strings.Cut(inner, ",")
	if !ok || !comma {
		return m, fmt.Errorf("key %q is not of the form (FROM, TO)", key)
	}
	if m.From, err = ParseVersion(from); err != nil {
		return m, fmt.Errorf("key %q: %w", key, err)
	}
	if m.To, err = ParseVersion(strings.TrimLeft(to, " ")); err != nil {
		return m, fmt.Errorf("key %q: %w", key, err)
	}
	return m, nil
}

// sortMigrations sorts list and refuses duplicates.
func sortMigrations(list []Migration) error {
	slices.SortStableFunc(list, compareMigrations)
	for i := 1; i < len(list); i++ {
		// The spelling of the key may differ in blanks: the versions are what must be unique.
		if compareMigrations(list[i-1], list[i]) == 0 {
			return fmt.Errorf("duplicate key (%v, %v)", list[i].From, list[i].To)
		}
	}
	return nil
}

func compareMigrations(a, b Migration) int {
	if c := a.From.Compare(b.From); c != 0 {
		return c
	}
	if c := a.To.Compare(b.To); c != 0 {
		return c
	}
	// Compare ignores build metadata; two builds of one version are still different keys.
	return strings.Compare(a.From.Metadata()+"\x00"+a.To.Metadata(), b.From.Metadata()+"\x00"+b.To.Metadata())
}

// MarshalJSON prints the update as it stands in a manifest.
func (u Update) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Variant    string          `json:"variant"`
		Arch       string          `json:"arch"`
		Version    string          `json:"version"`
		MaxVersion string          `json:"max_version"`
		Waves      json.RawMessage `json:"waves"`
		Images     Images          `json:"images"`
	}{u.Variant, u.Arch, u.Version.String(), u.MaxVersion.String(), u.Waves.json(), u.Images})
}

// JSON prints the manifest pretty, with sorted keys and a final newline: the same manifest always gives the same bytes.
func (m *Manifest) JSON() ([]byte, error) {
	updates := append([]Update{}, m.Updates...) // an empty list is not null
	sorted := slices.Clone(m.Migrations)
	slices.SortStableFunc(sorted, compareMigrations)
	var migrations objectWriter
	for _, g := range sorted {
		names := g.Names
		if names == nil {
			names = []string{}
		}
		value, err := json.Marshal(names)
		if err != nil {
			return nil, fmt.Errorf("printing manifest: %w", err)
		}
		migrations.add(fmt.Sprintf("(%v, %v)", g.From, g.To), value)
	}
	data, err := json.Marshal(struct {
		Updates    []Update        `json:"updates"`
		Migrations json.RawMessage `json:"migrations"`
	}{updates, migrations.bytes()})
	if err != nil {
		return nil, fmt.Errorf("printing manifest: %w", err)
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, data, "", "  "); err != nil {
		return nil, fmt.Errorf("printing manifest: %w", err)
	}
	pretty.WriteByte('\n')
	return pretty.Bytes(), nil
}

// Add appends u. The greatest version that hosts may run becomes limit, or, when limit is nil, the greater of u's
// version and the MaxVersion of the first update in the list; it then holds for all updates of u's variant and arch.
// A version that is already there is refused with ErrExists, and without a limit, a rise that would offer a version again
// that is above the present one with ErrHeldBack: hosts whose turn has not come for u would take it. Nothing changes then.
func (m *Manifest) Add(u Update, limit *semver.Version) error {
	if m.Find(u.Variant, u.Arch, u.Version) != nil {
		return fmt.Errorf("%s %s %v: %w", u.Variant, u.Arch, u.Version, ErrExists)
	}
	if limit == nil {
		limit = u.Version
		if len(m.Updates) > 0 && m.Updates[0].MaxVersion.GreaterThan(limit) {
			limit = m.Updates[0].MaxVersion
		}
		if held := m.heldBelow(u.Variant, u.Arch, limit); len(held) > 0 {
			return fmt.Errorf("%s %s %v: %w: %s", u.Variant, u.Arch, u.Version, ErrHeldBack, strings.Join(held, ", "))
		}
	}
	m.Updates = append(m.Updates, u)
	for i := range m.Updates {
		if m.Updates[i].Variant == u.Variant && m.Updates[i].Arch == u.Arch {
			m.Updates[i].MaxVersion = limit
		}
	}
	return nil
}

// heldBelow lists the versions that hosts may not run now, and may under another limit.
func (m *Manifest) heldBelow(variant, arch string, limit *semver.Version) []string {
	var held []string
	for _, u := range m.Updates {
		if u.Variant == variant && u.Arch == arch && u.Version.GreaterThan(u.MaxVersion) && !u.Version.GreaterThan(limit) {
			held = append(held, u.Version.String())
		}
	}
	return held
}

// MaxVersion is the greatest version that hosts may run, or nil when nothing is published for them.
func (m *Manifest) MaxVersion(variant, arch string) *semver.Version {
	for _, u := range m.Updates {
		if u.Variant == variant && u.Arch == arch {
			return u.MaxVersion
		}
	}
	return nil
}

// Find returns the update with exactly this variant, arch and version, or nil.
func (m *Manifest) Find(variant, arch string, version *semver.Version) *Update {
	for i, u := range m.Updates {
		if u.Variant == variant && u.Arch == arch && u.Version.Equal(version) {
			return &m.Updates[i]
		}
	}
	return nil
}
