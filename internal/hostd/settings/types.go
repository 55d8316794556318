// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package settings

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// Type is what a value may be.
type Type struct {
	Name string // short, for tables
	Rule string // the rest of the sentence "the value must be …"

	// parse returns the value as it is stored. It reports false when the rule is broken.
	parse func(v any) (any, bool)

	item *Type // of a list: what each item must be; nil: it is none, or its items have no rule of their own
}

// broken returns the first item of a list that breaks the rule of items, from 1; 0: it is the value itself that is wrong.
func (t Type) broken(v any) int {
	items, is := v.([]any)
	if !is || t.item == nil {
		return 0
	}
	return 1 + slices.IndexFunc(items, func(item any) bool {
		_, ok := t.item.parse(item)
		return !ok
	})
}

// text is a type of strings, stored as given.
func text(name, rule string, ok func(string) bool) Type {
	return Type{Name: name, Rule: rule, parse: func(v any) (any, bool) {
		s, is := v.(string)
		return s, is && ok(s)
	}}
}

func pattern(name, rule, expr string) Type {
	return text(name, rule, regexp.MustCompile(expr).MatchString)
}

func oneOf(words ...string) Type {
	quoted, coded := make([]string, len(words)), make([]string, len(words))
	for i, w := range words {
		quoted[i], coded[i] = strconv.Quote(w), "`"+w+"`"
		if w == "" {
			coded[i] = "empty"
		}
	}
	return text(strings.Join(coded, ", "), "one of "+strings.Join(quoted, ", "), func(s string) bool {
		for _, w := range words {
			if s == w {
				return true
			}
		}
		return false
	})
}

// integer accepts whole numbers in a range, however they are spelled, and stores them without fraction.
func integer(low, high int64) Type {
	name := fmt.Sprintf("whole number, %d to %d", low, high)
	switch {
	case high == math.MaxInt64 && low == math.MinInt64:
		name = "whole number"
	case high == math.MaxInt64:
		name = fmt.Sprintf("whole number from %d", low)
	}
	return Type{Name: name, Rule: "a " + name, parse: func(v any) (any, bool) {
		n, ok := v.(json.Number)
		if !ok {
			return nil, false
		}
		i, err := strconv.ParseInt(n.String(), 10, 64)
		return i, err == nil && low <= i && i <= high
	}}
}

// labelName is the name rule of Kubernetes for labels: 63 at most, with letters or digits at both ends.
const labelName = `[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?`

// The types that settings have.
var (
	anyText    = text("text", "text", func(string) bool { return true })
	singleLine = text("line of text", "text without line breaks", func(s string) bool {
		return !strings.ContainsAny(s, "\n\r\v\f\u0085\u2028\u2029")
	})
	boolean = Type{Name: "`true` or `false`", Rule: "true or false", parse: func(v any) (any, bool) { b, ok := v.(bool); return b, ok }}

	identifier = pattern("identifier", "1 to 76 ASCII letters, digits and hyphens", `^[A-Za-z0-9-]{1,76}$`)
	urlText    = text("URL", "a URL, or a host name with or without a path", isURL)
	base64Text = text("base64", "base64 in the standard alphabet with padding", func(s string) bool {
		_, err := base64.StdEncoding.Strict().DecodeString(s)
		return err == nil && !strings.ContainsAny(s, "\r\n")
	})
	versionLock = text("version or `latest`", `"latest" or a semantic version, with or without v`, func(s string) bool {
		_, err := semver.StrictNewVersion(strings.TrimPrefix(s, "v"))
		return s == "latest" || err == nil
	})
	dnsDomain = text("DNS domain", "a DNS domain that starts with no dot and is no IP address", func(s string) bool {
		_, err := netip.ParseAddr(s)
		return err != nil && domainName.MatchString(s) && len(s) <= 254
	})
	hostname = pattern("host name", "a host name of lower-case letters, digits, hyphens and dots, 253 at most",
		`^[0-9a-z][0-9a-z-]{0,62}(\.[0-9a-z][0-9a-z-]{0,62})*$`).and(func(s string) bool { return len(s) <= 253 })
	ipAddress = text("IP address", "an IP address", isIP)

	clusterName = pattern("cluster name", "1 to 63 letters, digits, and inside of them also . _ and -", `^`+labelName+`$`)
	labelKey    = pattern("label key", "a label key: an optional prefix and /, then 1 to 63 letters, digits, and inside of them also . _ and -",
		`^([A-Za-z0-9.-]{1,253}/)?`+labelName+`$`)
	labelValue = pattern("label value", "empty, or 1 to 63 letters, digits, and inside of them also . _ and -", `^(`+labelName+`)?$`)
	taint      = pattern("taint", `value:effect, where the value may be empty and the effect is 1 to 253 letters and digits`,
		`^(`+labelName+`)?:[A-Za-z0-9]{1,253}$`)
	ecsKey   = pattern("attribute name", "1 to 128 letters, digits and . _ / -", `^[A-Za-z0-9._/-]{1,128}$`)
	ecsValue = pattern("attribute value", `1 to 128 letters, digits, . @ : _ / \ - and, inside, blanks`,
		`^[A-Za-z0-9.@:_/\\-]([A-Za-z0-9.@:_/\\ -]{0,126}[A-Za-z0-9.@:_/\\-])?$`)

	sysctlKey = pattern("sysctl name", `1 to 128 letters, digits and . / _ -, not starting with . or /, without ..`,
		`^[A-Za-z0-9_-][A-Za-z0-9./_-]{0,127}$`).and(func(s string) bool { return !strings.Contains(s, "..") })
	variable       = pattern("variable", "letters, digits and _, not starting with a digit", `^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
	kernelModule   = pattern("kernel module", "1 to 56 letters, digits, _ and -", `^[A-Za-z0-9_-]{1,56}$`)
	bootstrapToken = pattern("bootstrap token", "6 and 16 lower-case letters and digits with a dot between",
		`^[a-z0-9]{6}\.[a-z0-9]{16}$`)
	quantity  = text("quantity", "a quantity such as 100m or 2Gi", quantityForm.MatchString)
	threshold = text("threshold", "a percentage from 0% to below 100%, or a quantity such as 100Mi", func(s string) bool {
		if number, is := strings.CutSuffix(s, "%"); is {
			p, err := strconv.ParseFloat(number, 64)
			return err == nil && 0 <= p && p < 100
		}
		return quantityForm.MatchString(s)
	})
	duration    = pattern("duration", "a duration in h, m, s and ms, such as 1h30m", `^([0-9]+(\.[0-9]+)?(h|ms|m|s))+$`)
	evictionKey = oneOf("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree", "pid.available")
	reservedKey = oneOf("cpu", "memory", "ephemeral-storage")
	percent     = Type{Name: "percentage", Rule: "a whole number from 0 to 100", parse: func(v any) (any, bool) {
		if s, is := v.(string); is {
			v = json.Number(s)
		}
		return integer(0, 100).parse(v)
	}}

	// rate is a limit of downloads; below the least one, they would be taken for stalled.
	rate = Type{Name: "0 or whole number from 65536", Rule: "0, or a whole number from 65536", parse: func(v any) (any, bool) {
		n, ok := integer(0, math.MaxInt64).parse(v)
		return n, ok && (n == int64(0) || n.(int64) >= 64<<10)
	}}

	unsigned8  = integer(0, math.MaxUint8)
	unsigned16 = integer(0, math.MaxUint16)
	unsigned32 = integer(0, math.MaxUint32)
	signed32   = integer(math.MinInt32, math.MaxInt32)
	signed64   = integer(math.MinInt64, math.MaxInt64)
	count32    = integer(0, math.MaxInt32)
)

var (
	domainName   = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?$`)
	quantityForm = regexp.MustCompile(`^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$`)
)

// and adds a condition that the rule names already.
func (t Type) and(ok func(string) bool) Type {
	return text(t.Name, t.Rule, func(s string) bool {
		_, first := t.parse(s)
		return first && ok(s)
	})
}

// IsHostname tells whether a setting that is a host name takes a text.
func IsHostname(s string) bool {
	_, ok := hostname.parse(s)
	return ok
}

func isIP(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == ""
}

// isURL takes what has a scheme, and what has one once http:// is put in front. Blanks and control characters are taken
// by neither: these values end up in configuration files.
func isURL(s string) bool {
	for _, r := range s {
		if r <= ' ' || r == 0x7f || strings.ContainsRune("<>\"{}|\\^`", r) {
			return false
		}
	}
	u, err := url.Parse(s)
	if strings.Contains(s, "://") {
		// Only those of the web need a host: a node's provider is aws:///<zone>/<instance>.
		web := err == nil && (u.Scheme == "http" || u.Scheme == "https")
		return err == nil && (u.Hostname() != "" || !web && len(u.Path) > 1)
	}
	if err == nil && u.Scheme != "" && u.Opaque != "" {
		return true
	}
	u, err = url.Parse("http://" + s)
	return err == nil && u.Hostname() != ""
}
