//! Small line plots as SVG, readable on light and dark pages.

use std::fmt::Write as _;

use crate::rules::Kind;
use crate::world::{Figures, Lies};

type Curves = [(Lies, Kind, f64, Figures)];

const KINDS: [(Kind, &str); 5] = [
    (Kind::Original, "#c0392b"),
    (Kind::Fides, "#d68910"),
    (Kind::Majority, "#7f8c8d"),
    (Kind::Preempt, "#2471a3"),
    (Kind::Assist, "#1e8449"),
];

/// Names and contents of all plots.
pub fn all(curves: &Curves) -> Vec<(&'static str, String)> {
    vec![
        (
            "wrong-blocks",
            draw(
                curves,
                Lies::Always,
                "wrong blocks in 60 days",
                |f| (f.wrong + 1.0).log10() / 2.7,
                &[0.0, 1.0, 10.0, 100.0, 400.0],
            ),
        ),
        (
            "sleepers",
            draw(
                curves,
                Lies::Sleepers,
                "wrong blocks in 60 days, sleepers",
                |f| (f.wrong + 1.0).log10() / 2.7,
                &[0.0, 1.0, 10.0, 100.0, 400.0],
            ),
        ),
        ("trust", trust(curves)),
    ]
}

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 50.0;
const TOP: f64 = 30.0;
const INNER: (f64, f64) = (300.0, 220.0);

fn frame(title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#777\">\n\
         <text x=\"{LEFT}\" y=\"18\" font-size=\"14\">{title}</text>\n\
         <rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"#999\"/>\n\
         <text x=\"{LEFT}\" y=\"{}\">share of liars</text>\n",
        INNER.0,
        INNER.1,
        HEIGHT - 8.0
    )
}

fn at(share: f64, height: f64) -> (f64, f64) {
    (LEFT + share / 0.5 * INNER.0, TOP + INNER.1 * (1.0 - height.clamp(0.0, 1.0)))
}

fn line(svg: &mut String, points: &[(f64, f64)], colour: &str, nth: usize, name: &str) {
    let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
        path.join(" ")
    );
    let y = TOP + 20.0 + 18.0 * nth as f64;
    let x = LEFT + INNER.0 + 10.0;
    let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" fill=\"{colour}\" font-size=\"11\">{name}</text>");
}

fn shares(svg: &mut String) {
    for share in [0.0, 0.1, 0.25, 0.4, 0.5] {
        let (x, y) = at(share, 0.0);
        let _ =
            writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{share}</text>", x, y + 15.0);
    }
}

fn draw(curves: &Curves, lies: Lies, title: &str, height: impl Fn(&Figures) -> f64, marks: &[f64]) -> String {
    let mut svg = frame(title);
    shares(&mut svg);
    for mark in marks {
        let (x, y) = at(0.0, height(&Figures { wrong: *mark, ..Figures::default() }));
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{mark}</text>",
            x - 5.0,
            y + 4.0
        );
    }
    for (nth, (kind, colour)) in KINDS.into_iter().enumerate() {
        let points: Vec<(f64, f64)> = curves
            .iter()
            .filter(|(with, of, ..)| *with == lies && *of == kind)
            .map(|(_, _, share, figures)| at(*share, height(figures)))
            .collect();
        line(&mut svg, &points, colour, nth, kind.name());
    }
    svg + "</svg>\n"
}

/// Trust of honest peers and of liars after 60 days.
fn trust(curves: &Curves) -> String {
    let mut svg = frame("trust after 60 days, preempt");
    shares(&mut svg);
    for mark in [0.0, 0.5, 1.0] {
        let (x, y) = at(0.0, mark);
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{mark}</text>",
            x - 5.0,
            y + 4.0
        );
    }
    let lines = [
        (Lies::Always, true, "#1e8449", "honest peers"),
        (Lies::Always, false, "#c0392b", "liars from the first day"),
        (Lies::Sleepers, false, "#d68910", "sleepers, 30 days awake"),
        (Lies::Parrots, false, "#7f8c8d", "parrots, 30 days biting"),
    ];
    for (nth, (lies, honest, colour, name)) in lines.into_iter().enumerate() {
        let points: Vec<(f64, f64)> = curves
            .iter()
            .filter(|(with, of, share, _)| *with == lies && *of == Kind::Preempt && (honest || *share > 0.0))
            .map(|(_, _, share, figures)| at(*share, if honest { figures.trust.0 } else { figures.trust.1 }))
            .collect();
        line(&mut svg, &points, colour, nth, name);
    }
    svg + "</svg>\n"
}
