//! Pure. Savings as bars and as a table: what running all the time would have taken, and what it did take.

use super::figures;
use crate::ledger::Savings;

/// The chart is as high as this, in its own units; a style sheet stretches it.
const HEIGHT: f64 = 100.0;
/// As wide as this.
const WIDTH: f64 = 1000.0;
/// The share of its place that a bar takes.
const BAR: f64 = 0.72;

/// A chart, drawn.
pub(super) struct Chart {
    pub(super) bars: Vec<Bar>,
    /// What the highest bar stands for.
    pub(super) most: String,
    /// The first and the last day.
    pub(super) first: String,
    pub(super) last: String,
    /// All of it in one sentence.
    pub(super) sentence: String,
    /// What the numbers are.
    pub(super) unit: &'static str,
}

/// One day, week or month.
pub(super) struct Bar {
    pub(super) day: String,
    pub(super) x: String,
    pub(super) width: String,
    pub(super) potential_y: String,
    pub(super) potential_height: String,
    pub(super) actual_y: String,
    pub(super) actual_height: String,
    pub(super) potential: String,
    pub(super) actual: String,
    pub(super) saved: String,
}

/// Draws it; `None` when there is nothing to draw.
pub(super) fn draw(savings: &Savings) -> Option<Chart> {
    let is_money = savings.total_potential_cost > 0.0;
    let hours = |seconds: &[f64]| seconds.iter().map(|seconds| seconds / 3600.0).collect::<Vec<_>>();
    let (actual, saved) = if is_money {
        (savings.actual_cost.clone(), savings.savings.clone())
    } else {
        (hours(&savings.running_seconds), hours(&savings.stopped_seconds))
    };
    let days = savings.days.iter().zip(actual.iter().zip(&saved));
    let most = days.clone().map(|(_, (actual, saved))| actual + saved).fold(0.0, f64::max);
    if most <= 0.0 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "a few thousand at most")]
    let step = WIDTH / savings.days.len() as f64;
    let length = |amount: f64| amount / most * HEIGHT;
    let number = |amount: f64| format!("{amount:.2}");
    let mut x = step * (1.0 - BAR) / 2.0;
    let mut bars = Vec::new();
    for (day, (actual, saved)) in days {
        bars.push(Bar {
            day: day.clone(),
            x: number(x),
            width: number(step * BAR),
            potential_y: number(HEIGHT - length(actual + saved)),
            potential_height: number(length(actual + saved)),
            actual_y: number(HEIGHT - length(*actual)),
            actual_height: number(length(*actual)),
            potential: figures::sum(actual + saved),
            actual: figures::sum(*actual),
            saved: figures::sum(*saved),
        });
        x += step;
    }
    let (actual, saved): (f64, f64) = (actual.iter().sum(), saved.iter().sum());
    let unit = if is_money { "" } else { " h" };
    Some(Chart {
        most: format!("{}{unit}", figures::sum(most)),
        first: savings.days.first().cloned().unwrap_or_default(),
        last: savings.days.last().cloned().unwrap_or_default(),
        sentence: format!(
            "Running all the time would have taken {}{unit}; it took {}{unit}, which is {}{unit} less.",
            figures::sum(actual + saved),
            figures::sum(actual),
            figures::sum(saved)
        ),
        unit: if is_money { "in the currency of price_per_hour" } else { "in hours of running" },
        bars,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_drawn_to_scale_and_told_in_words() {
        let savings = Savings {
            days: vec!["2026-11-19".to_owned(), "2026-11-20".to_owned()],
            actual_cost: vec![1.0, 0.0],
            savings: vec![3.0, 2.0],
            total_potential_cost: 6.0,
            ..Savings::default()
        };
        let chart = draw(&savings).unwrap();
        assert_eq!(
            chart.sentence,
            "Running all the time would have taken 6.00; it took 1.00, which is 5.00 less."
        );
        let told: Vec<_> = chart
            .bars
            .iter()
            .map(|bar| [bar.potential_height.as_str(), &bar.actual_height, &bar.actual_y])
            .collect();
        assert_eq!(told, [["100.00", "25.00", "75.00"], ["50.00", "0.00", "100.00"]]);
        assert_eq!((chart.bars[0].x.as_str(), chart.bars[1].x.as_str()), ("70.00", "570.00"));
    }

    #[test]
    fn without_a_price_it_is_hours_and_without_time_it_is_nothing() {
        let mut savings = Savings { days: vec!["2026-11-20".to_owned()], ..Savings::default() };
        assert!(draw(&savings).is_none());
        (savings.running_seconds, savings.stopped_seconds) = (vec![3600.0], vec![7200.0]);
        (savings.actual_cost, savings.savings) = (vec![0.0], vec![0.0]);
        let chart = draw(&savings).unwrap();
        assert_eq!((chart.most.as_str(), chart.bars[0].actual.as_str()), ("3.00 h", "1.00"));
    }
}
