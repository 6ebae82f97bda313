"""beex_train: trains binarized early-exit text classifiers and writes them as `.beex` packs.

Modules, from the bottom up; none imports a later one:

    data       tables of labelled texts (CSV, TSV), splits that do not leak
    tokenizer  the WordPiece vocabulary a pack carries
    binary     binarized weights and few-bit activations with their gradients
    model      the network: embeddings, blocks (attention, SLFN), exits
    pack       the `.beex` container, written and read
    export     a trained network as a pack
    simulate   the engine's arithmetic in NumPy, bit for bit, on a pack
    exits      exit rules, calibration, cost of a text
    teach      a float teacher's soft labels for unlabelled text (optional)
    fit        the training loop
    golden     vectors for the engine's tests
    baseline   a linear model on the same rows (optional)
    cli        `beex-train`
"""
