// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

//go:build !linux

package logging

import (
	"context"
	"io/fs"
)

// watch has nothing to watch: the programs run in containers of Linux.
func watch(context.Context, string) (<-chan struct{}, error) { return nil, fs.ErrNotExist }
