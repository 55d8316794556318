// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package server

import _ "embed"

// openAPI describes every route; a test holds it to that.
//
//go:embed openapi.yaml
var openAPI []byte
