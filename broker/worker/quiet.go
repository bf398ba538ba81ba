package worker

import (
	"context"
	"log/slog"

	"github.com/jackc/pgx/v5"
)

// pgxTx is the transaction type that River's client is made for.
type pgxTx = pgx.Tx

// quiet lets River's warnings and errors through, and nothing else: its start
// and stop are no news to an operator.
type quiet struct{ slog.Handler }

func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && q.Handler.Enabled(ctx, l)
}
