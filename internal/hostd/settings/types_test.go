// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package settings

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestTextTypes(t *testing.T) {
	long := strings.Repeat("a", 64)
	for _, c := range []struct {
		name      string
		of        Type
		good, bad []string
	}{
		{"text", anyText, []string{"", "a\nb", "\u2028"}, nil},
		{"line", singleLine, []string{"", "a b", "é"}, []string{"a\nb", "a\r", "\v", "\f", "a\u0085", "\u2028", "\u2029"}},
		{"identifier", identifier, []string{"a", "admin-2", strings.Repeat("a", 76)}, []string{"", "a_b", "a.b", "é", "a ", strings.Repeat("a", 77), "a\n"}},
		{"URL", urlText, []string{"https://a.example/x?y#z", "a.example", "a.example/x:tag", "localhost:80", "10.0.0.1:8080", "http://[::1]:80/", "file:///x", "mailto:x", "aws:///eu-west-1a/i-0"},
			[]string{"", "a b", "http://", "https:///x", "aws:///", "aws://", "a\n", "\ta", "http://a b/", "http://a<b", "://", "/x", "?", "http://[::1"}},
		{"base64", base64Text, []string{"", "YQ==", "YWJj"}, []string{"YQ", "YQ=", "YQ==\n", "Y Q=", "_-8=", "YR==", "é"}},
		{"version", versionLock, []string{"latest", "1.2.3", "v1.2.3", "v1.2.3-rc.1+b"}, []string{"", "v", "1.2", "Latest", "vv1.2.3", "1.2.3 ", "v1.02.3"}},
		{"domain", dnsDomain, []string{"cluster.local", "a", "a.b.", "a_b.c"}, []string{"", ".a", "a..b", "10.0.0.1", "::1", "a b", "-a", long + ".b"}},
		{"hostname", hostname, []string{"a", "a.b-c", "1a"}, []string{"", "A", "-a", "a.-b", ".a", "a.", "a..b", "a_b", long, strings.Repeat("a.", 127) + "a"}},
		{"address", ipAddress, []string{"10.0.0.1", "::1", "fd00::1"}, []string{"", "10.0.0", "10.0.0.256", "fe80::1%eth0", "a", "10.0.0.1/8"}},
		{"cluster name", clusterName, []string{"a", "a.b_c-d"}, []string{"", "-a", "a-", long, "a/b", "a\n"}},
		{"label key", labelKey, []string{"a", "a.b/c", "x-y/z_1"}, []string{"", "/a", "a/", "a/b/c", "-a", "a/" + long, strings.Repeat("a", 254) + "/b", "a b"}},
		{"label value", labelValue, []string{"", "a", "a.b"}, []string{"-", "a-", long, "a b", "a/b", "\n"}},
		{"taint", taint, []string{"a:NoSchedule", ":NoExecute"}, []string{"", "a", "a:", ":", "a:b:c", "a b:c", "a:No Schedule", "a:b\n"}},
		{"attribute name", ecsKey, []string{"a", "a.b/c_d-e"}, []string{"", `a\b`, "a b", strings.Repeat("a", 129)}},
		{"attribute value", ecsValue, []string{"a", `a b@c:d/e\f-g`}, []string{"", " a", "a ", "é", strings.Repeat("a", 129), "a\n"}},
		{"sysctl", sysctlKey, []string{"net.ipv4.x", "net/ipv4/x"}, []string{"", ".a", "/a", "a..b", "a b", strings.Repeat("a", 129)}},
		{"variable", variable, []string{"A", "aws_PROFILE", "_1"}, []string{"", "1A", "A-B", "A=B", "é", strings.Repeat("A", 129)}},
		{"module", kernelModule, []string{"sctp", "a_b-c"}, []string{"", "a.ko", "a/b", strings.Repeat("a", 57)}},
		{"token", bootstrapToken, []string{"abcdef.0123456789abcdef"}, []string{"", "abcdef.0123456789abcde", "ABCDEF.0123456789abcdef", "abcdef0123456789abcdef"}},
		{"quantity", quantity, []string{"1", "100m", "1.5Gi", "1e3", "500k", "+1", "0"}, []string{"", "Gi", "1GiB", "1 Gi", "--1", "1K", "1e", "."}},
		{"threshold", threshold, []string{"0%", "15%", "99.9%", "100Mi"}, []string{"", "100%", "-1%", "%", "NaN%", "1 %", "x"}},
		{"duration", duration, []string{"10s", "1h30m", "1.5h", "100ms"}, []string{"", "10", "s", "1d", "-1s", "1s ", "1 s"}},
		{"words", oneOf("none", "static"), []string{"none", "static"}, []string{"", "None", "none "}},
		{"eviction", evictionKey, []string{"memory.available"}, []string{"", "memory"}},
	} {
		for _, s := range c.good {
			if got, ok := c.of.parse(s); !ok || got != s {
				t.Errorf("%s: %q is refused, or stored as %v", c.name, s, got)
			}
		}
		for _, s := range c.bad {
			if _, ok := c.of.parse(s); ok {
				t.Errorf("%s: %q is accepted", c.name, s)
			}
		}
		for _, v := range []any{nil, true, json.Number("1"), []any{}, object{}} {
			if _, ok := c.of.parse(v); ok {
				t.Errorf("%s: %v is accepted", c.name, v)
			}
		}
	}
}

func TestNumberTypes(t *testing.T) {
	for _, c := range []struct {
		name string
		of   Type
		in   string
		want any
	}{
		{"u32", unsigned32, "0", int64(0)}, {"u32", unsigned32, "4294967295", int64(4294967295)}, {"u32", unsigned32, "4294967296", nil}, {"u32", unsigned32, "-1", nil},
		{"u32", unsigned32, "1.0", nil}, {"u32", unsigned32, "1e2", nil}, {"u32", unsigned32, "-0", int64(0)}, {"u8", unsigned8, "256", nil}, {"u16", unsigned16, "65535", int64(65535)},
		{"i32", signed32, "-2147483648", int64(-2147483648)}, {"i32", signed32, "2147483648", nil},
		{"i64", signed64, "9223372036854775807", int64(9223372036854775807)}, {"i64", signed64, "9223372036854775808", nil},
		{"percent", percent, "100", int64(100)}, {"percent", percent, "101", nil}, {"percent", percent, "-1", nil},
	} {
		got, ok := c.of.parse(json.Number(c.in))
		if c.want == nil && ok || c.want != nil && got != c.want {
			t.Errorf("%s: %s is read as %v %v, want %v", c.name, c.in, got, ok, c.want)
		}
	}
}
