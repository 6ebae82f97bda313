"""beex_train: trains binarized early-exit text classifiers and writes them as `.beex` packs.

Modules, from the bottom up; none imports a later one:

    devices    fast products, several processes
    data       tables of labelled texts (CSV, TSV), cleaned, split so that nothing leaks
    report     accuracy and its kin with their uncertainty
    baseline   the floors: a linear model, fastText
    tokenizer  the WordPiece vocabulary a pack carries
    binary     binarized weights and few-bit activations with their gradients
    pack       the `.beex` container, written and read
    cost       the work of a text, in binary multiply-adds
    ngrams     which rows of the linear model an input adds up
    model      the network: embeddings, blocks (attention, SLFN), exits
    linear     the linear model inside, and what it tells the network in training
    export     a trained network as a pack
    restore    a pack as a network again
    simulate   the engine's arithmetic in NumPy, bit for bit, on a pack
    sizes      bytes of a pack, by part and beside its float twin
    exits      calibration, thresholds, exit rules
    contrast   cross-layer contrastive learning
    inputs     encoded rows in batches
    elimination  how many tokens go on after each block: learnt, and tuned without training
    passes     the network on encoded rows under a setting, with its work
    speed      the settings that are worth choosing
    teach      a float teacher, its soft labels for unlabelled text (optional)
    base       the base encoder's file
    pretrain   how the base encoder is made
    train      the training loop
    fit        labelled rows to a pack and its report
    golden     vectors for the engine's tests
    results    recipes, packs and reports as read from files
    adaptive   what exits, elimination and gates of a pack are worth
    tune       a pack's speed settings without training
    bias       scores of harmless sentences that name groups of people
    pareto     the picture of accuracy over bytes
    cards      model cards and tables
    cli        `beex-train`
"""
