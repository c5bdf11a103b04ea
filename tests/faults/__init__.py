"""The fault table: every fault that can be made, over real processes, and what a learner notices of each.

`make faults` holds conversations side by side on local clouds, breaks something in each of their parts, and counts, from what the
phone captured and played and what Nova Sonic's stand-in heard and said, byte for byte:

- heard nothing: the longest silence of both sides that follows a fault, less the longest one of its kind in conversations that ran
  beside them without a fault. Silences are of one kind when the same side sounded before, the same side after, in the same part.
- frames lost: the learner's sound that no stream of Maya's heard, and sound of Maya's that the phone never played, in frames of
  100 ms, begun ones whole. Not lost is what the learner cut off by speaking, and what a lost stream or relay had said and not delivered.
- frames doubled: the learner's sound that Maya heard twice, or that nobody had captured, and Maya's that was played twice. Not
  doubled is what the successor of a lost stream hears again of an utterance that had no final transcript.
- assessments lost: conversations in which the learner spoke, and no assessment is saved.

| file | what is in it |
|---|---|
| `rows.py` | the faults |
| `course.py` | one conversation with faults in it |
| `stage.py` | clouds, and what is held on them |
| `sound.py` | what was lost and doubled of a learner's sound and of Maya's |
| `silence.py` | what the learner heard and did not hear, and when |
| `account.py` | all that a conversation came to, and a row of the table |
| `report.py` | the table |
"""
