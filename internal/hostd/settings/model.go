// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package settings

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"github.com/drydock-os/drydock/internal/hostd/store"
)

// ErrInvalid means that a value, or the name of a setting, does not fit the model. A *Error has the details.
var ErrInvalid = errors.New("invalid settings")

// Error says which setting is wrong, and why.
type Error struct {
	Key          string // as far as it is understood, with settings in front
	Item         int    // of the list that is the value, from 1; 0: it is not one item that is wrong
	Reason       string
	Line, Column int // of the end of the value in the JSON text, from 1; 0: it was no JSON text

	path []string
}

func (e *Error) Error() string { return e.Key + ": " + e.Reason }

// Path returns the names that lead to what is wrong, beginning with settings; not all of them need be names of a key.
func (e *Error) Path() []string { return append([]string{store.Settings}, e.path...) }

// Is makes every *Error an ErrInvalid.
func (e *Error) Is(target error) bool { return target == ErrInvalid }

// Model is the settings of one variant. It does not change and may be used by many at once.
type Model struct {
	variant Variant
	root    *node
}

// node is what can stand at one place of a key.
type node struct {
	children map[string]*node
	names    Type  // of keys that users choose
	chosen   *node // what follows them; nil: no such keys here
	setting  *setting
}

// For returns the model of a variant.
func For(v Variant) *Model {
	m := &Model{v, &node{}}
	for i := range settings {
		if s := &settings[i]; s.only == nil || s.only(v) {
			m.root.add(strings.Split(s.key, "."), s)
		}
	}
	return m
}

func (n *node) add(segments []string, s *setting) {
	if len(segments) == 0 {
		n.setting = s
		return
	}
	first, rest := segments[0], segments[1:]
	if names, is := nameTypes[first]; is {
		if n.chosen == nil {
			n.names, n.chosen = names, &node{}
		}
		n.chosen.add(rest, s)
		return
	}
	if n.children == nil {
		n.children = map[string]*node{}
	}
	if n.children[first] == nil {
		n.children[first] = &node{}
	}
	n.children[first].add(rest, s)
	if len(rest) == 0 && s.alias != "" {
		n.children[s.alias] = n.children[first]
	}
}

// next returns what follows one name. The name is written as the declaration has it.
func (n *node) next(name string) (string, *node, string) {
	if child, ok := n.children[name]; ok {
		if s := child.setting; s != nil && s.alias == name {
			name = s.key[strings.LastIndexByte(s.key, '.')+1:]
		}
		return name, child, ""
	}
	if n.chosen == nil {
		return name, nil, "unknown setting"
	}
	if _, ok := n.names.parse(name); !ok {
		return name, nil, fmt.Sprintf("the name %s is not valid: it must be %s", show(name), n.names.Rule)
	}
	return name, n.chosen, ""
}

// Parse reads a JSON object of settings, such as {"motd": "hi"}, and returns its values as they are stored. Null means
// not given. It returns ErrInvalid or *SyntaxError.
func (m *Model) Parse(data []byte) (map[store.Key]store.Value, error) {
	v, err := decode(data)
	if err != nil {
		return nil, err
	}
	values := map[store.Key]store.Value{}
	if _, is := v.(object); !is {
		return nil, fault([]string{store.Settings}, show(v)+" is not valid: it must be an object")
	}
	err = m.root.read([]string{store.Settings}, v, values)
	if err == nil {
		err = m.CheckTogether(values, values)
	}
	if e, ok := errors.AsType[*Error](err); ok {
		e.Line, e.Column = position(data, locate(data, e.path))
	}
	return values, err
}

// read adds the values in v, which stands at the place of n.
func (n *node) read(at []string, v any, values map[store.Key]store.Value) error {
	if v == nil {
		return nil
	}
	if n.setting != nil {
		return n.setting.read(at, v, values)
	}
	o, ok := v.(object)
	if !ok {
		return fault(at, fmt.Sprintf("%s is not valid: it must be an object", show(v)))
	}
	seen := map[string]string{}
	for _, key := range o.keys() {
		name, child, wrong := n.next(key)
		if wrong != "" {
			return fault(append(at, key), wrong)
		}
		if other, twice := seen[name]; twice {
			return fault(append(at, name), fmt.Sprintf("given twice, as %s and %s", other, key))
		}
		seen[name] = key
		if err := child.read(append(at, name), o[key], values); err != nil {
			return err
		}
	}
	return nil
}

// read adds one value.
func (s *setting) read(at []string, v any, values map[store.Key]store.Value) error {
	parsed, ok := s.of.parse(v)
	if !ok {
		err := fault(at, s.complaint(v))
		err.Item = s.of.broken(v)
		return err
	}
	key, err := store.NewKey(at...)
	if err != nil {
		return fault(at, err.Error())
	}
	values[key], err = encode(parsed)
	return err
}

func (s *setting) complaint(v any) string {
	what, rule := "the value", s.of.Rule
	item := s.of.broken(v)
	if item > 0 {
		what, rule = fmt.Sprintf("item %d", item), s.of.item.Rule
		v = v.([]any)[item-1]
	}
	switch {
	case s.secret:
		what += " (not shown)"
	case item > 0:
		what += ", " + show(v) + ","
	default:
		what = show(v)
	}
	return fmt.Sprintf("%s is not valid: it must be %s", what, rule)
}

// maxShown bounds how much of a value an error repeats, in bytes.
const maxShown = 80

func show(v any) string {
	data, err := encode(v)
	if err != nil {
		return "the value"
	}
	if len(data) > maxShown {
		return strings.ToValidUTF8(string(data[:maxShown]), "") + "…"
	}
	return string(data)
}

func fault(at []string, reason string) *Error {
	name := strings.Join(at, ".")
	if key, err := store.NewKey(at...); err == nil {
		name = key.String()
	}
	if len(name) > 2*maxShown {
		name = strings.ToValidUTF8(name[:2*maxShown], "") + "…"
	}
	return &Error{Key: name, Reason: reason, path: slices.Clone(at[1:])}
}

// lookup returns the declaration of a key.
func (m *Model) lookup(k store.Key) (*setting, error) {
	segments := k.Segments()
	if segments[0] != store.Settings {
		return nil, &Error{Key: k.String(), Reason: "not below settings"}
	}
	n := m.root
	for i, name := range segments[1:] {
		_, child, wrong := n.next(name)
		if wrong != "" {
			return nil, fault(segments[:i+2], wrong)
		}
		n = child
	}
	if n.setting == nil {
		return nil, &Error{Key: k.String(), Reason: "not one setting but a group of them"}
	}
	return n.setting, nil
}

// Check returns ErrInvalid when a stored value is none that the model accepts: a newer or older system wrote it.
func (m *Model) Check(k store.Key, v store.Value) error {
	s, err := m.lookup(k)
	if err != nil {
		return err
	}
	decoded, err := decode(v)
	if err != nil {
		return &Error{Key: k.String(), Reason: err.Error()}
	}
	if _, ok := s.of.parse(decoded); !ok {
		return &Error{Key: k.String(), Reason: s.complaint(decoded)}
	}
	return nil
}

// Accept returns those of the values of a store that are settings and that the model accepts. The others are what an
// older or newer system has left; each is logged.
func (m *Model) Accept(values map[store.Key]store.Value, log *slog.Logger) map[store.Key]store.Value {
	accepted := make(map[store.Key]store.Value, len(values))
	for k, v := range values {
		if k.Segments()[0] != store.Settings {
			continue
		}
		if err := m.Check(k, v); err != nil {
			log.Warn("stored setting ignored", "error", err)
			continue
		}
		accepted[k] = v
	}
	return accepted
}

// The thresholds of removing images, of which one must be below the other.
var gcLow, gcHigh = mustKey("kubernetes", "image-gc-low-threshold-percent"), mustKey("kubernetes", "image-gc-high-threshold-percent")

func mustKey(segments ...string) store.Key {
	k, err := store.NewKey(append([]string{store.Settings}, segments...)...)
	if err != nil {
		panic(err) // constants of ours
	}
	return k
}

// CheckTogether returns ErrInvalid when values are right one by one, but not together. Result is what changes lead to;
// what is wrong in it without any of them is not their fault.
func (*Model) CheckTogether(changes, result map[store.Key]store.Value) error {
	if changes[gcLow] == nil && changes[gcHigh] == nil {
		return nil
	}
	low, errLow := strconv.Atoi(string(result[gcLow]))
	high, errHigh := strconv.Atoi(string(result[gcHigh]))
	if errLow != nil || errHigh != nil || low < high { // one of them is not set, or left by another system
		return nil
	}
	key, rule := gcLow, fmt.Sprintf("%d is not valid: it must be below image-gc-high-threshold-percent, which is %d", low, high)
	if changes[gcLow] == nil {
		key, rule = gcHigh, fmt.Sprintf("%d is not valid: it must be above image-gc-low-threshold-percent, which is %d", high, low)
	}
	return fault(key.Segments(), rule)
}
