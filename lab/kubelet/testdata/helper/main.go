// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Command helper is what the tests' containers run. `helper serve PORT` answers over HTTP what a program in the
// container sees; `helper exit CODE`, `helper stubborn` and `helper append FILE TEXT` do what they say.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
)

func main() {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "serve":
		serve(os.Args[2])
	case len(os.Args) == 3 && os.Args[1] == "exit":
		fmt.Println("exiting with", os.Args[2])
		code, err := strconv.Atoi(os.Args[2])
		if err != nil {
			code = 99
		}
		if err := os.WriteFile("/dev/termination-log", []byte("exit "+os.Args[2]), 0o644); err != nil {
			fmt.Println(err)
		}
		os.Exit(code)
	case len(os.Args) == 2 && os.Args[1] == "stubborn":
		signal.Ignore(syscall.SIGTERM)
		never := make(chan os.Signal, 1)
		signal.Notify(never, syscall.SIGUSR2) // an armed signal keeps the runtime from calling this a deadlock
		<-never
	case len(os.Args) == 4 && os.Args[1] == "append":
		f, err := os.OpenFile(os.Args[2], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err == nil {
			_, err = f.WriteString(os.Args[3])
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	default:
		fmt.Println("unknown arguments", os.Args)
		os.Exit(2)
	}
}

func serve(port string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var sick atomic.Bool
	mux := http.NewServeMux()
	reply := func(w http.ResponseWriter, v any, err error) {
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("/ping", func(w http.ResponseWriter, _ *http.Request) {
		if sick.Load() {
			http.Error(w, "sick", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/sick", func(http.ResponseWriter, *http.Request) { sick.Store(true) })
	mux.HandleFunc("/env", func(w http.ResponseWriter, _ *http.Request) { reply(w, os.Environ(), nil) })
	mux.HandleFunc("/args", func(w http.ResponseWriter, _ *http.Request) { reply(w, os.Args, nil) })
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		b, err := os.ReadFile(r.FormValue("path"))
		reply(w, string(b), err)
	})
	mux.HandleFunc("/write", func(w http.ResponseWriter, r *http.Request) {
		reply(w, "written", os.WriteFile(r.FormValue("path"), []byte(r.FormValue("data")), 0o644))
	})
	mux.HandleFunc("/names", func(w http.ResponseWriter, r *http.Request) {
		var names []string
		entries, err := os.ReadDir(r.FormValue("path"))
		for _, e := range entries {
			names = append(names, e.Name())
		}
		reply(w, names, err)
	})
	mux.HandleFunc("/hostname", func(w http.ResponseWriter, _ *http.Request) {
		name, err := os.Hostname()
		reply(w, name, err)
	})
	mux.HandleFunc("/resolve", func(w http.ResponseWriter, r *http.Request) {
		addrs, err := net.DefaultResolver.LookupHost(r.Context(), r.FormValue("name"))
		reply(w, addrs, err)
	})
	server := &http.Server{Addr: ":" + port, Handler: mux}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	fmt.Println("serving", port)
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		fmt.Println(err)
		os.Exit(1)
	}
}
