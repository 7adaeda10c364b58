//! How many, how fast and how often wrong, for a period.

use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::functions_aggregate::expr_fn::{approx_percentile_cont, count, sum};
use datafusion::logical_expr::{Expr, case, col, lit};
use datafusion::prelude::{DataFrame, SessionContext};
use serde::Serialize;
use serde_json::{Map, Value};

use super::sql::{Ask, Limits};
use super::{Error, Query};

/// The groups that are told at most of each kind.
const MOST: usize = 100;

/// Numbers over a period. Each row has `count`, `errors` (status 500 and above, or cut off by the server),
/// `error_rate`, `p50_ms`, `p95_ms` and `p99_ms`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// All exchanges.
    pub total: Map<String, Value>,
    /// By `service`, most frequent first.
    pub services: Vec<Map<String, Value>>,
    /// By `service`, `method` and `path`, the hundred most frequent.
    pub routes: Vec<Map<String, Value>>,
    /// By `status`.
    pub statuses: Vec<Map<String, Value>>,
}

impl Query {
    /// Numbers over the exchanges from `since` until before `until`, in nanoseconds since the Unix epoch.
    ///
    /// # Errors
    /// As [`Query::sql`].
    pub async fn stats(
        &self,
        since_ns: Option<i64>,
        until_ns: Option<i64>,
        limits: Limits,
    ) -> Result<Stats, Error> {
        let by = async |columns: &'static [&'static str]| {
            let ask = move || -> Ask {
                Box::new(move |context| {
                    Box::pin(async move { plan(&context, since_ns, until_ns, columns).await })
                })
            };
            self.ask(limits, ask).await.map(|answer| answer.rows)
        };
        Ok(Stats {
            total: by(&[]).await?.into_iter().next().unwrap_or_default(),
            services: by(&["service"]).await?,
            routes: by(&["service", "method", "path"]).await?,
            statuses: by(&["status"]).await?,
        })
    }
}

async fn plan(
    context: &SessionContext,
    since_ns: Option<i64>,
    until_ns: Option<i64>,
    columns: &[&str],
) -> Result<DataFrame, DataFusionError> {
    let time = |ns: i64| Expr::Literal(ScalarValue::TimestampNanosecond(Some(ns), Some("UTC".into())), None);
    let mut frame = context.table("exchanges").await?;
    if let Some(since) = since_ns {
        frame = frame.filter(col("ts").gt_eq(time(since)))?;
    }
    if let Some(until) = until_ns {
        frame = frame.filter(col("ts").lt(time(until)))?;
    }
    let wrong = col("status").gt_eq(lit(500)).is_true().or(col("end").eq(lit("aborted_by_server")));
    let errors = sum(case(wrong).when(lit(true), lit(1_i64)).otherwise(lit(0_i64))?);
    let percentile =
        |share: f64| approx_percentile_cont(col("duration_ns").sort(true, false), lit(share), None);
    let millis = |name: &str| (col(name) / lit(1e6)).alias(name);
    let groups: Vec<_> = columns.iter().map(|name| col(*name)).collect();
    let numbers = vec![
        count(lit(1)).alias("count"),
        errors.alias("errors"),
        percentile(0.5).alias("p50_ms"),
        percentile(0.95).alias("p95_ms"),
        percentile(0.99).alias("p99_ms"),
    ];
    let rate = col("errors") * lit(1.0) / col("count");
    let mut told = groups.clone();
    told.extend([col("count"), col("errors"), rate.alias("error_rate")]);
    told.extend(["p50_ms", "p95_ms", "p99_ms"].map(millis));
    let mut order = vec![col("count").sort(false, false)];
    order.extend(groups.iter().map(|group| group.clone().sort(true, true)));
    frame.aggregate(groups, numbers)?.sort(order)?.limit(0, Some(MOST))?.select(told)
}
