// SPDX-License-Identifier: Apache-2.0

// resolve [-4|-6] NAME [PORT]: the addresses that Go's own resolver has for a name, a line each; with PORT, the line that the one it
// connects to greets with.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"time"
)

func main() {
	four := flag.Bool("4", false, "IPv4 alone")
	six := flag.Bool("6", false, "IPv6 alone")
	flag.Parse()
	if flag.NArg() < 1 || flag.NArg() > 2 {
		fmt.Fprintln(os.Stderr, "usage: resolve [-4|-6] NAME [PORT]")
		os.Exit(2)
	}
	suffix := ""
	if *four {
		suffix = "4"
	} else if *six {
		suffix = "6"
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	resolver := &net.Resolver{PreferGo: true}
	if flag.NArg() == 1 {
		addresses, err := resolver.LookupIP(ctx, "ip"+suffix, flag.Arg(0))
		check(err)
		for _, address := range addresses {
			fmt.Println(address)
		}
		return
	}
	dialer := net.Dialer{Resolver: resolver}
	connection, err := dialer.DialContext(ctx, "tcp"+suffix, net.JoinHostPort(flag.Arg(0), flag.Arg(1)))
	check(err)
	line, err := bufio.NewReader(connection).ReadString('\n')
	check(err)
	fmt.Print(line)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
