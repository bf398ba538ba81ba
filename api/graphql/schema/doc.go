// Package schema holds the contract's types: the SDL, what gqlgen generates from
// it (make generate), and the few types that carry more than the contract shows.
//
// It needs no permission and has no side effect.
package schema
