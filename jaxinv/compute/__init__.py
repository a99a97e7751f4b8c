"""How a batch is worked through: laid in rows, cut in pieces, spread over devices, kept and resumed."""
