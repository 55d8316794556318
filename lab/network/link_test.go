// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package network

import (
	"testing"

	"github.com/vishvananda/netlink"
)

func removeLink(t *testing.T, name string) {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err != nil {
		t.Error(err)
		return
	}
	if err := netlink.LinkDel(link); err != nil {
		t.Error(err)
	}
}
