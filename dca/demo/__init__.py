"""The bundled rollouts of ``dca demo``: word problems, five attempts each, hand-written.

``rollouts.jsonl`` holds one rollout a line: ``id``, ``group``, ``task``, ``prompt``,
``completion``, ``reward``, ``truth``, ``model`` and ``gold``. ``gold`` is what a careful reader
finds, each part quoted from the completion: ``blame`` (the first wrong step on which a wrong
answer rests), ``sound`` (whether the steps of a success support its answer), ``idle`` (stretches
that do no work, not all of them) and ``decisive`` (the step that solves the problem).
Where there is nothing to say, ``idle`` is empty and the others are null.
"""
