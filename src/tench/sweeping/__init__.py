"""A sweep: the options of a training tried out, chosen by the loss on `select`. (`tench.sweep` is the public function, hence the name.)"""
