"""Hostile answers: text that makes a grader hang, run out of memory, crash, or execute what a model wrote.

No item equals any of `references()`: whatever a grader answers, "correct" is wrong. The numbers that an item may
simplify to (31337 and its powers) stand in no reference.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator

SIZES = (10, 100, 1_000, 5_000, 10_000, 50_000, 200_000, 1_000_000)
"""Repetitions from what a grader should still read to a million characters."""


def torture(canary: str, count: int = 1000, seed: int = 0) -> list[str]:
    """`count` distinct hostile answers, the same ones for the same arguments; all are valid UTF-8.

    `canary` is a path that up to a fifth of the items try to create: if it exists afterwards, an answer was executed.
    """
    generator = random.Random(seed)
    code = list(executions(canary))
    items = dict.fromkeys(generator.sample(code, min(len(code), count // 5)))
    families = itertools.cycle(FAMILIES)
    while len(items) < count:
        items[next(families)(generator)] = None
    chosen = list(items)
    generator.shuffle(chosen)
    return chosen


def references() -> list[str]:
    """Plain references of every kind, to be graded against the hostile answers."""
    return [
        "42",
        r"\frac{3}{56}",
        "3.21",
        r"(-\infty, 2) \cup (3, \infty)",
        r"x^3+3x-6",
        r"\{1\pm\sqrt{5},-2\}",
        r"\begin{pmatrix} -1 & 0 \\ 0 & -1 \end{pmatrix}",
        "(6,31,-1)",
        "y = 2x + 3",
        "40_9",
        r"90^\circ",
        r"\text{Evelyn}",
    ]


def executions(canary: str) -> Iterator[str]:
    """Answers that create `canary` if anything evaluates, expands, unpickles, renders or runs them."""
    shell = f"touch {canary}"
    python = (
        f"__import__('os').system('{shell}')",
        f"open('{canary}','w').write('x')",
        f"__import__('pathlib').Path('{canary}').touch()",
        f"__import__('subprocess').run(['touch','{canary}'])",
        f"(lambda: open('{canary}','w'))()",
        f"[open('{canary}','w') for _ in (1,)]",
        f"globals()['__builtins__']['open']('{canary}','w')",
        f"().__class__.__base__.__subclasses__()[0].__init__.__globals__['open']('{canary}','w')",
        f"getattr(__import__('o'+'s'),'sys'+'tem')('{shell}')",
    )
    for expression in python:
        yield expression
        yield f'eval("{expression}")'
        yield f'exec("{expression}")'
        yield f'exec(compile("{expression}","answer","exec"))'
        yield f'sympify("{expression}")'
        yield f'parse_expr("{expression}")'
        yield f'Symbol("x").func("{expression}")'
        yield f"1 + {expression}"
        yield f"31337 if {expression} else 31337"
        yield f'f"{{{expression}}}"'
        yield f"{{{{ {expression} }}}}"
        yield f"{{% set x = {expression} %}}"
        yield f"x = {expression}"
        yield f"({expression}, {expression})"
        yield rf"\text{{{expression}}}"
        yield rf"\operatorname{{eval}}({expression})"
        yield rf"\mathrm{{{expression.replace('_', chr(92) + '_')}}}"
        yield rf"\frac{{{expression}}}{{{expression}}}"
        yield rf"\sum_{{k=1}}^{{{expression}}} k"
        yield rf"\begin{{pmatrix}} {expression} \\ 1 \end{{pmatrix}}"
    yield from (
        rf"\write18{{{shell}}}",
        rf"\immediate\write18{{{shell}}}",
        rf"\input{{|{shell}}}",
        r"\input{/etc/passwd}",
        rf"\newwrite\f\immediate\openout\f={canary}\immediate\write\f{{x}}",
        rf"\directlua{{os.execute('{shell}')}}",
        rf"\pyc{{open('{canary}','w')}}",
        f"$({shell})",
        f"`{shell}`",
        f"; {shell}",
        f"| {shell}",
        f"&& {shell} #",
        f"31337\n{shell}\n",
        f"'; {shell}; '",
        f'!!python/object/apply:os.system ["{shell}"]',
        f"cos\nsystem\n(S'{shell}'\ntR.",
        f"${{{shell}}}",
        f"<script>require('child_process').execSync('{shell}')</script>",
        f"<?php system('{shell}'); ?>",
        f"<!DOCTYPE x [<!ENTITY e SYSTEM 'file://{canary}'>]><x>&e;</x>",
    )


def towers(generator: random.Random) -> str:
    """Numbers too large to write down."""
    base, height = generator.randint(2, 99), generator.randint(3, 60)
    nested = f"{base}^{{" * height + str(base) + "}" * height
    return generator.choice(
        (
            "**".join([str(base)] * height),
            nested,
            f"-{nested}",
            rf"\frac{{1}}{{{nested}}}",
            rf"\frac{{{nested}}}{{{base}^{{{base}^{{{base}}}}}}}",
            f"{nested} + 31337",
            f"({nested}, {nested})",
            f"({base}^{{{10 ** generator.randint(6, 30)}}})!",
            f"{base}" + "!" * height,
            f"(10^{{10^{{{height}}}}})!",
            rf"\binom{{10^{{{height}}}}}{{5 \cdot 10^{{{height - 1}}}}}",
            rf"\sqrt[{nested}]{{2}}",
            rf"\log({nested})",
            rf"\sin({nested})",
            rf"{base}^{{{base}^{{{base}^{{{height}}}}}}} \bmod 10^{{50}}",
            rf"{base} \uparrow\uparrow\uparrow {height}",
            rf"\gcd({nested}, {base}^{{{base}^{{7}}}}!)",
            f"{base}e{10 ** generator.randint(5, 20)}",
            f"{base}_{{{nested}}}",
            f"{base}^{{-{base}^{{{base}^{{{height}}}}}}}",
        )
    )


def long_numbers(generator: random.Random) -> str:
    """Digits without end: quadratic conversion, CPython's digit limit, periods, groups."""
    size = generator.choice(SIZES)
    digits = str(generator.randint(1, 9)) + "".join(generator.choices("0123456789", k=min(size, 1000)))
    digits = (digits * (size // len(digits) + 1))[:size]
    return generator.choice(
        (
            digits,
            f"-{digits}",
            f"0.{digits}",
            f"0.\\overline{{{digits}}}",
            rf"\frac{{{digits}}}{{{digits[::-1]}}}",
            f"{digits}!",
            f"{digits}^{{{digits}}}",
            f"{digits}_{{{generator.randint(2, 36)}}}",
            rf"\sqrt{{{digits}}}",
            ",".join([digits[:3]] * (size // 4 + 2)),
            f"1e{digits}",
            f"{digits}%",
            rf"\${digits}",
        )
    )


def nesting(generator: random.Random) -> str:
    """Recursion: one construct inside itself, closed, not closed, or closed too often."""
    opening, core, closing = generator.choice(
        (
            ("{", "31337", "}"),
            ("(", "31337", ")"),
            ("[", "31337", "]"),
            (r"\left(", "31337", r"\right)"),
            (r"\{", "31337", r"\}"),
            (r"\{\{1\},", "31337", r"\}"),
            (r"\frac{1}{1+", "31337", "}"),
            (r"\frac{", "31337", "}{2}"),
            (r"\sqrt{1+", "31337", "}"),
            (r"\sqrt[3]{2+", "31337", "}"),
            (r"\text{", "31337", "}"),
            (r"\boxed{", "31337", "}"),
            (r"\left|", "31337", r"\right|"),
            ("|", "31337", "|"),
            (r"\sin(", "31337", ")"),
            ("x^{", "31337", "}"),
            ("x_{", "31337", "}"),
            ("-(", "31337", ")"),
            ("2(1+", "31337", ")"),
            (r"\binom{", "31337", "}{2}"),
            (r"\begin{pmatrix}", "31337", r"\end{pmatrix}"),
            (r"\int_0^{", "31337", r"} t \, dt"),
            ("((x_1+", "31337", ")^2)"),
            (r"\log_{", "31337", "} 2"),
            (r"\lfloor ", "31337", r"\rfloor "),
        )
    )
    depth = generator.choice((50, 500, 2_000, 10_000, 50_000))
    closed = generator.choice((depth, depth, depth, depth - 1, 0, depth + 1))
    return opening * depth + core + closing * closed


def repetition(generator: random.Random) -> str:
    """Long runs that make backtracking patterns and quadratic scans slow."""
    unit = generator.choice(
        (
            " ", "$", "$$", "(", ")", "{", "}", "\\", r"\ ", r"\,", r"\!", "~", "-", "+", "--+", ",", "1,", "1 ", "or ",
            "1 or ", "5 and ", "= ", "x = ", "1=", "<", "1<", r"\le ", "^", "_", "^{", "x^", "&", r"\\", "!", "'", "%",
            r"\%", ".", "1.", "..", "0", "9", "a", "ab", r"\frac", r"\frac1", r"\sqrt", r"\sqrt2", r"\pm ", r"1\pm ",
            r"\text{", r"\text{a}", r"\boxed{", r"\left(", r"\right)", r"\begin{pmatrix}", r"\end{pmatrix}", r"\circ",
            r"^\circ", r"\cdot ", r"\pi", r"\infty", r"\cup ", r"(0,1)\cup", r"\{", r"\}", "\n", "\t", "\r\n", "%\n",
            "####", "answer is ", "a|", "(a+)+", "[a-z]*", "&amp;", "<b>", "\x1b[31m", "π", "½", "²", "𝟙",
        )
    )  # fmt: skip
    prefix = generator.choice(("", "31337", "x", "$", r"\boxed{", "-"))
    suffix = generator.choice(("", "31337", "!", "}", "$", "\\"))
    return prefix + unit * max(2, generator.choice(SIZES) // len(unit)) + suffix


def algebra(generator: random.Random) -> str:
    """Well-formed mathematics that costs a computer-algebra system far more than it costs to write."""
    n, power, many = generator.choice((20, 50, 200)), generator.choice((20, 50, 500)), generator.choice((100, 5_000))
    total = "+".join(f"x_{{{i}}}" for i in range(1, n + 1))
    large = 10 ** generator.randint(6, 40)
    return generator.choice(
        (
            f"({total})^{{{power}}}",
            f"({total})^{{{power}}}-({total})^{{{power - 1}}}",
            "".join(f"(x_{{{i}}}+{i})" for i in range(1, n + 1)),
            rf"\frac{{({total})^{{{power}}}}}{{({total.replace('+', '-')})^{{{power}}}}}",
            f"(x+1)^{{{large}}}",
            f"x^{{{large}}}-1",
            "+".join(f"x^{{{large + i}}}" for i in range(n)),
            rf"\sum_{{k=1}}^{{{large}}} \frac{{1}}{{k^{{{power}}}}}",
            rf"\prod_{{k=1}}^{{{large}}} (k^{{{n}}}+1)",
            rf"\int_0^{{{large}}} \sin(x^{{{power}}}) e^{{-x^{{{n}}}}} \, dx",
            rf"\int \frac{{1}}{{x^{{{power}}}+x^{{{n}}}+x+1}} \, dx",
            rf"\lim_{{n \to \infty}} \left(\sum_{{k=1}}^{{n}} \frac{{1}}{{k!^{{{power}}}}}\right)^{{{n}}}",
            "+".join(rf"\sqrt{{{generator.randint(2, 9999)}}}" for _ in range(n)),
            r"\cdot".join(rf"\sin({generator.randint(2, 9999)}x)" for _ in range(n)),
            "".join(rf"\sqrt[{k}]{{{k}+" for k in range(2, n)) + "x" + "}" * (n - 2),
            " = ".join(f"x^{{{k}}}+{generator.randint(1, 9)}" for k in range(n)),
            rf"{large}x^{{{power}}} + \sin(\cos(\tan(x^{{{n}}}))) = e^{{e^{{e^{{x}}}}}}",
            r" \cup ".join(f"({3 * k},{3 * k + 1})" for k in range(many)),
            r" \cap ".join(f"(-{k},{k + generator.randint(1, 9)})" for k in range(1, many)),
            r"\{" + ",".join(rf"{k} \pm \sqrt{{{generator.randint(2, 9999)}}}" for k in range(many)) + r"\}",
            r"1 \pm \sqrt{2}" + "".join(rf" \pm \sqrt{{{k}}}" for k in range(3, n)),
            "(" + ",".join(str(generator.randint(-9, 9)) for _ in range(many)) + ")",
            rf"\begin{{pmatrix}} {(' & '.join(['x'] * n) + chr(92) * 2) * n} \end{{pmatrix}}",
            rf"\begin{{vmatrix}} {(' & '.join(f'x^{{{k}}}' for k in range(n)) + chr(92) * 2) * n} \end{{vmatrix}}",
            rf"\begin{{pmatrix}} 1 & 2 \\ 3 & 4 \end{{pmatrix}}^{{{large}}}",
            "a_0+" + "".join(rf"\cfrac{{1}}{{{k}+" for k in range(1, n)) + "x" + "}" * (n - 1),
            rf"\lfloor {power}^{{{large}}} \rfloor",
            rf"\operatorname{{lcm}}(1,2,\ldots,{large})",
            rf"\phi({large}^{{{power}}}+31337)",
            rf"F_{{{large}}}",
            rf"A({n},{power})",
        )
    )


def characters(generator: random.Random) -> str:
    """Unicode and control characters where a grader expects digits and letters."""
    alphabets = (
        "٠١٢٣٤٥٦٧٨٩", "०१२३४५६७८९", "０１２３４５６７８９", "𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗", "⁰¹²³⁴⁵⁶⁷⁸⁹", "₀₁₂₃₄₅₆₇₈₉", "①②③④⑤⑥⑦⑧⑨",
        "ⅠⅡⅢⅣⅤⅥⅦⅧⅨ", "½⅓¼⅕⅙⅛⅔¾", "一二三四五六七八九", "\x00\x01\x02\x07\x08\x0b\x0c\x1b\x7f",
        "\u200b\u200c\u200d\u2060",
        "\u202a\u202b\u202d\u202e\u2066\u2067\u2069", "\u0301\u0302\u0303\u0336\u0489", "−–—‐﹣－", "АВСЕНКМОРТХ",
        "\ue000\uf8ff\U0010fffd", "\ufffe\uffff\U0001ffff", "\u2028\u2029\x85\xa0\u3000", "👩‍👩‍👧‍👦🏳️‍🌈", "ßẞİıſK",
    )  # fmt: skip
    symbols = "".join(generator.choices(generator.choice(alphabets), k=generator.choice((20, 300, 3000))))
    return generator.choice(
        (
            symbols,
            f"31337{symbols}",
            f"{symbols}31337",
            rf"\frac{{{symbols}}}{{{symbols}}}",
            rf"\text{{{symbols}}}",
            f"x^{{{symbols}}}",
            f"{symbols}!",
            f"({symbols},{symbols})",
            rf"\begin{{pmatrix}} {symbols} \\ {symbols} \end{{pmatrix}}",
            rf"\sqrt[{symbols}]{{31337}}",
            f"31337_{{{symbols}}}",
            f"{symbols} = 31337",
        )
    )


def markup(generator: random.Random) -> str:
    """Other languages' bombs and LaTeX that is broken or endless."""
    n = generator.choice((10, 1_000, 10_000))
    return generator.choice(
        (
            '{"a":' * n + "1" + "}" * n,
            "[" * n + "]" * n,
            "&lol;" * n,
            "<!DOCTYPE l [" + "".join(f'<!ENTITY l{k} "{f"&l{k - 1};" * 10}">' for k in range(1, 10)) + "]>&l9;",
            "<div>" * n + "31337" + "</div>" * n,
            "\x1b]0;31337\x07" * n,
            rf"\def\x{{\x\x}}\x {n}",
            r"\newcommand{\a}{\a\a}\a" * n,
            rf"\loop\iftrue\repeat {n}",
            r"\begin{array}{" + "c" * n + "}" + "1&" * n + r"\end{array}",
            r"\begin{cases}" + r"x & y \\" * n + r"\end{cases}",
            "%s%n%x" * n,
            "{0.__class__.__mro__}" * n,
            "{:>" + str(10**n if n < 100 else 10**9) + "}",
            "../" * n + "etc/passwd",
            "' OR '1'='1" * n,
            "${jndi:ldap://127.0.0.1/" + "a" * n + "}",
            r"\u0000\x00\N{DIGIT ONE}" * n,
            "\\" * (2 * n + 1) + "frac{1}{2}",
            "__class__." * n + "__mro__",
            f"lambda: {'(lambda: ' * n}31337{')' * n}",
            "not " * n + "31337",
            "31337 if " * n,
        )
    )


FAMILIES: tuple[Callable[[random.Random], str], ...] = (
    towers,
    long_numbers,
    nesting,
    repetition,
    algebra,
    characters,
    markup,
)
