"""The words by which free text shows what it does, one pattern a line, for sentences whose formulas are one sign (∎).

They were written against hand-labelled sentences, for precision before recall: a phrase that is a check as often as a
step of the method is left out.
"""

from __future__ import annotations

import re


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{each})" for each in patterns), re.IGNORECASE)


_LETS = r"\b(?:let[’']s|let us)"
_NEED = r"(?:need|have)"
_WAY = r"(?:approach|method|way|technique)"
_OTHER = r"(?:another|a different|an alternative)"
_AGAIN = r"(?:evaluat|consider|assess|examin|visit|think|interpret)"
_OBTAIN = r"(?:find|determine|calculate|compute|identify|solve|convert|express|count|list|factori[sz]e)"
_MISTAKE = r"(?:error|mistake|oversight|misunderstanding|misinterpretation|miscalculation)"
_ORDER = r"(?:first(?:ly)?|next|now|then|second(?:ly)?|third(?:ly)?)"
_GIVEN = r"(?:given |original |required |first |second )*(?:condition|equation|constraint|requirement|criteri)\w*"
_MUST = r"(?:must|needs?|has to|have to)"

FAILS = (
    r"\b(?:does|do|did)(?:n[’']t| not) (?:\w+ ){0,2}?(?:work|match|satisfy|make sense|meet|fit|hold)\b",
    r"(?:\bnot|n[’']t) (?:possible|valid|consistent)\b",
    r"\binconsisten(?:t|cy)\b",
    r"\bcontradict",
    r"\bto undefined\b",
    r"\bnone of (?:these|them|the)\b.*\b(?:satisf|work|match|fit)",
    r"\bwe (?:must |can |should )?(?:discard|reject|disregard)\b",
    r"\bseems? (?:incorrect|wrong)\b",
)
VERIFICATION = _any(
    *FAILS,
    r"\bverify(?:ing)?\b",
    r"\b(?:double|cross)[- ]check",
    r"\b(?:let[’']s|let us|should|need to|we) re-?check|^re-?check",
    r"\bconfirm(?:s|ing|ed)?\b",
    r"\bcheck (?:if|whether|that) (?:it|this|our|both|any|there could)\b",
    r"\b(?:is|are) (?:also |indeed |thus )*(?:(?:a )?valid|consistent)\b",
    r"\((?:\\text\{\s*)?valid\b",
    r"(?:∎|(?:^|\band |\bsince |\bso )(?:this|it|these|both)) satisf(?:y|ies) (?:all|both|the) (?:of )?(?:the )?"
    rf"{_GIVEN}(?! ∎)",
    r"\bcondition is (?:also )?(?:satisfied|met)\b",
    r"\bboth sides (?:are equal|match|agree)\b",
    r"\bto ensure (?:there are )?no\b",
)
RETURN = _any(
    rf"(?:{_LETS}|\bwe (?:should|need to|must|have to)) (?:\w+ )?re-?(?:evaluate|consider|assess|examine|visit|think"
    r"|interpret)\b",
    rf"{_LETS} re-?check\b",
    rf"^re-?(?:{_AGAIN}|calculat)\w*\b",
    r"^instead\b|\b(?:so|but|and) instead,|\bshould instead\b",
    rf"\b(?:let[’']s|let us|need|try|use|consider|using|with) (?:\w+ ){{0,2}}?(?:{_OTHER}|a new) (?:approach|method"
    r"|strategy|interpretation|technique)\b",
    r"^the correct (?:approach|method) (?:is to|involves|should)\b",
    r"\bthis (?:approach|method|path|way) (?:does|did|will|is)(?:n[’']t| not)\b",
    r"\b(?:start|begin) (?:over|again|from scratch)\b|\bgo(?:ing)? back to\b",
    r"^(?:hmm|wait)\b",
    r"^however, (?:if we assume|instead|a simpler)\b",
)
TRY = _any(
    r"\b(?:let[’']s|let us|we(?: can)?|finally|next|now|so),? (?:also |now |next )?try\b",
    r"^try(?:ing)?\b",
)
"""The next candidate; a backtrack where one of MISSES stands before it."""
MISSES = _any(*FAILS, r"\bnot (?:divisible|a (?:factor|root|perfect|valid|solution)|an integer)\b")
CORRECTION = _any(
    r"\b(?:seems?|appears?|is|was|were|been|made|had|indicat\w+|suggest\w*|reali[sz]ed?)\b.{0,40}\b(?:an?|the|some|my|our)"
    rf" (?:\w+ )?{_MISTAKE}\b",
    r"\b(?:made|contains) (?:an? )?(?:\w+ )?(?:error|mistake)s?\b",
    r"\bgiven the (?:error|mistake)\b",
    r"\b(?:step|result|calculation|value|answer|assumption)s? (?:above )?(?:seems?|appears?|is|was|were|are)"
    r" (?:to be )?(?:incorrect|wrong)\b",
    r"\b(?:incorrect|wrong) assumption\b",
    r"\b(?:was|were|been|i|we) (?:incorrectly|mistakenly|wrongly)\b",
    r"^(?:let[’']s|let us|we) correct\b|^correction\b|^corrected\b|^correcting (?!the approach)|\bcorrected to\b",
    r"\bupon (?:re-?\w+|further \w+|reviewing|closer \w+).{0,60}\b(?:correct|reali[sz]e|appears?)\b",
    r"\bi apologi[sz]e\b|\bmy mistake\b|\boops\b",
)
NO_CORRECTION = _any(
    r"\b(?:no|without|any|avoid|or|if there (?:was|is|were|might be)(?: any| an?)?) (?:\w+ ){0,3}(?:error|mistake)",
)
ALTERNATIVE = _any(
    r"^alternatively\b",
    rf"^instead, (?:\w+ ){{0,3}}?{_OTHER} {_WAY}\b.{{12}}",
    rf"\b(?:consider|use|using|with|in|need) {_OTHER} {_WAY}\b",
    r"^however, a simpler (?:approach|method|way)\b|\bthere[’']s an easier way\b",
    r"^instead, (?:we can|let[’']s) (?:try|solve)\b.*\b(?:directly|numerically|graphically)\b",
)
OBTAIN = _any(rf"\b{_OBTAIN}\b")
"""What is to be obtained follows."""
SUBGOAL = _any(
    rf"\bwe (?:first |now |next |then |also |will |still |just )*{_NEED} to (?:first |also |now )*{_OBTAIN}\b",
    rf"^{_ORDER},? (?:we (?:can |will |should )?|let[’']s |let us )?(?:now |first |next |then |also )*{_OBTAIN}\b",
    r"^step \d+\W+(?!(?:conclusion|final|answer|the)\b)[a-z]+ ",
    r"\bwe (?:first need to|need to first)\b",
    r"\bto get the \w+\W*$",
    rf"^(?:\d+\. |- )?{_OBTAIN}\b",
    rf"\bsubstitut\w+ .* to {_OBTAIN}\b",
    rf"\busing .*, {_OBTAIN}\b",
    r"^(?:\d+\. |- )?verify\b",
)
OBTAINED = _any(
    r"=[^=]*\d",
    r"\bfinal answer\b",
    r"\bwe (?:get|have|find that|obtain)\b|\bgives?\b",
    r"\b(?:this|it|directly|that)\W*$",
)
"""The sentence has it already, or names nothing."""
ONE_OF_SEVERAL = _any(r"^first(?:ly)?\b", r"\b(?:need|have) to first\b|\bwe first\b", r"^step \d")
"""Other targets come after this one."""
FIRST = _any(r"\bfirst\b")
BACKWARD = _any(
    r"^(?:so |thus |now |therefore |and |since |but )*,?\s*(?:in order )?for .{1,90}? to (?:be|have|hold|equal|divide"
    rf"|exist|satisfy|become)\b.{{0,160}}\b(?:{_MUST}|should|require[sd]?)\b",
    r"^(?:in order )?to (?:minimi[sz]e|maximi[sz]e)\b.{0,80}\b(?:we (?:need|want|should|must)|it[’']s easier"
    r"|requires?)\b",
    r"\bwork(?:ing)? backwards?\b",
    rf"\bin order (?:for|to)\b.{{1,90}}\b{_MUST}\b",
)
NAMELESS = frozenset(
    "find determine calculate compute identify solve for factorize factorise count first next now then finally second"
    " third step we need have to let us lets s can will should also the a an of in is are be so this that and all these"
    " its it number value values total each using by text frac cdot times left right sqrt".split()
)
"""Words that say nothing of what is to be obtained."""
